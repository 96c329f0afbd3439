"""Plain data that training and probes produce and sinks write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

GRAD_NORM, TOTAL_GRAD_NORM = "grad_norm", "grad_norm/total"
"""First part of the tags of the layers' gradient norms, GRAD_NORM/LAYER, and tag of the norm over all parameters."""


@dataclass(frozen=True)
class Histogram:
    """counts[i] values lie in [edges[i], edges[i + 1]); the last bin includes its right edge.

    minimum, maximum, total and total_squares describe the finite values; `nonfinite` further values are in no bin.
    """

    edges: list[float]
    counts: list[int]
    minimum: float
    maximum: float
    total: float
    total_squares: float
    nonfinite: int


class Picture(NamedTuple):
    """A PNG file; width and height in pixels."""

    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Record:
    """Everything measured at one step: scalars and histograms by tag.

    step: number of updates so far. epoch: passes over the training data. seconds: of training, without evaluations.
    """

    step: int
    epoch: float
    seconds: float
    scalars: Mapping[str, float | None]
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A chart of several scalars: either a line for each tag that matches one of the patterns `lines` (regular expressions), or
    a line inside a `band` (tags of the value and of the lower and upper edge)."""

    page: str
    title: str
    lines: Sequence[str] = ()
    band: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Hyperparameter:
    """kind: the type of its values in every run. value: this run's; None if it is null or does not apply."""

    kind: type[bool] | type[float] | type[str]
    value: bool | float | str | None


@dataclass(frozen=True)
class RunInfo:
    """Facts about a run before it starts. metrics: tags of its results. texts: Markdown by title."""

    hyperparameters: Mapping[str, Hyperparameter]
    metrics: Sequence[str]
    texts: Mapping[str, str] = field(default_factory=dict)
    charts: Sequence[Chart] = ()


class Sink(Protocol):
    """A destination of records."""

    def log(self, record: Record) -> None: ...

    def close(self, *, success: bool) -> None:
        """success: whether the run completed."""

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, from which a sink of the same kind continues. Everything logged so far is on disk."""
