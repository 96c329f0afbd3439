"""What training measures and sinks write: plain data that both sides share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Histogram:
    """counts[i] of the values lie in [edges[i], edges[i + 1]); the last bin includes its right edge.

    minimum, maximum, total and total_squares are of the finite values; `nonfinite` others are in no bin.
    """

    edges: list[float]
    counts: list[int]
    minimum: float
    maximum: float
    total: float
    total_squares: float
    nonfinite: int


@dataclass(frozen=True)
class Picture:
    """A PNG file; width and height in pixels."""

    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Record:
    """All that was measured at one step: scalars and histograms by their tags.

    step: updates made so far. epoch: passes over the training data. seconds: spent in training, evaluations left out.
    """

    step: int
    epoch: float
    seconds: float
    scalars: Mapping[str, float | None]
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """How scalars are shown together: a line for each tag that one of the patterns (regular expressions) matches, or a line
    within a band: the tags of its value, lower and upper edge."""

    page: str
    title: str
    lines: Sequence[str] = ()
    band: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Hyperparameter:
    """kind: what values of it are in any run. value: this run's; None where it does not apply or is null."""

    kind: type[bool] | type[float] | type[str]
    value: bool | float | str | None


@dataclass(frozen=True)
class About:
    """What is known of a run before it begins. metrics: the tags of its results. texts: Markdown by title."""

    hyperparameters: Mapping[str, Hyperparameter]
    metrics: Sequence[str]
    texts: Mapping[str, str] = field(default_factory=dict)
    charts: Sequence[Chart] = ()


class Sink(Protocol):
    """Where records go."""

    def log(self, record: Record) -> None: ...

    def close(self, *, success: bool) -> None:
        """success: whether the run was completed."""

    def state_dict(self) -> dict[str, Any]:
        """What a sink of the same kind needs to go on from here, as a checkpoint keeps it; all that was logged is on disk."""
