"""Interface of a tracker's file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

PROJECT = "normexp"
"""Name of the project (in MLflow: the experiment), unless the tracker's own environment variable sets another one."""


def without_secrets(text: str) -> str:
    """Remove users, passwords and query strings from addresses: `https://me:secret@host/?token=x` becomes `https://host/`."""
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1", re.sub(r"://[^\s/@]*@", "://", text))


@dataclass(frozen=True)
class RunDescription:
    """group: name of the sweep that the run belongs to. config: values by flat key, such as `norm.eps`."""

    directory: Path
    group: str | None
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.directory.name


class Entry(NamedTuple):
    """The measurements of a step. histograms: edges and counts by tag."""

    step: int
    scalars: Mapping[str, float]
    histograms: Mapping[str, tuple[Sequence[float], Sequence[int]]]


class TrackedRun(Protocol):
    """A run in a tracker, constructed with a RunDescription and the id of the run to continue, or None.

    Any method may raise anything, or hang. id: of this run, in the tracker. resumed: whether it is the run to continue, with its
    entries. where: a command or address that shows it.
    """

    id: str
    resumed: bool
    where: str

    def log(self, entries: Sequence[Entry]) -> None: ...

    def finish(self, files: Sequence[Path], step: int, *, success: bool | None) -> None:
        """Upload the files and mark the run as ended. step: the last one. success: None if the run's process was killed."""
