"""Several runs in Python: normexp.load_runs and Runs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from normexp.api.run import Run
from normexp.api.table import to_table
from normexp.api.words import to_words
from normexp.config import ConfigError
from normexp.report import read
from normexp.report.aggregate import check_metric
from normexp.report.export import RESULTS
from normexp.report.groups import check_key, differing
from normexp.report.select import select


class Runs(Sequence[Run]):
    """Runs of one or several folders, in natural order of their names (lr=2 before lr=10)."""

    def __init__(self, collection: read.Collection) -> None:
        runs = [replace(run, directory=run.directory.absolute()) for run in collection.runs]
        self._collection = replace(collection, runs=runs)

    @property
    def left_out(self) -> Sequence[str]:
        """A sentence for each run that can't be read."""
        return self._collection.left_out

    def filter(self, *filters: str, **keys: Any) -> "Runs":
        """The runs that pass all filters, as `--filter` of `normexp report` does: `runs.filter("norm=bn,ln", lr=0.1)`.

        The items of a list are alternatives. `state` is a key, too. Raises ConfigError for a key or value that no run has, and if
        no run is left.
        """
        return Runs(select(self._collection, to_words(filters, keys, sweeps=True)))

    def table(self, *columns: str) -> Any:
        """A row for each run: name, state, the config keys in which the runs differ, seed and last metrics.

        columns: config keys and metrics, instead of those keys and all results. Returns a pandas DataFrame if pandas is
        installed, else a dict of NumPy arrays. A missing metric is NaN, a key that a run lacks None. Raises ConfigError for a
        column that no run has.
        """
        runs = self._collection.runs
        logged = dict.fromkeys(tag for run in runs for tag in run.metrics)
        results = [tag for result in RESULTS for tag in logged if tag.startswith(result)]
        chosen = columns or (*dict.fromkeys([*differing(runs), "seed"]), *results)
        known = {key for run in runs for key in run.config}
        content: dict[str, list[Any]] = {"run": [run.name for run in runs], "state": [run.state for run in runs]}
        for column in chosen:
            if column in known:
                content[column] = [run.config.get(column) for run in runs]
            elif column in logged or "/" in column:
                check_metric(column, runs, flag="metric")
                content[column] = [run.metrics.get(column) for run in runs]
            elif column not in content:
                check_key(column, runs)
        return to_table(content, numbers=[name for name in content if name not in (*known, "run", "state")])

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "Run | Runs":
        runs = self._collection.runs
        if isinstance(index, slice):
            return Runs(replace(self._collection, runs=runs[index]))
        return Run(runs[index])

    def __iter__(self) -> Iterator[Run]:
        return map(Run, self._collection.runs)

    def __len__(self) -> int:
        return len(self._collection.runs)

    def __repr__(self) -> str:
        states = [run.state for run in self._collection.runs]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return f"Runs({counts})"


def load_runs(*directories: str | Path) -> Runs:
    """Load all runs in folders and below them: a sweep, several sweeps, or `runs`. Raises ConfigError if there are none."""
    if not directories:
        raise ConfigError('load_runs needs a folder of runs, such as "runs/lr-grid".')
    return Runs(read.read([Path(directory).expanduser() for directory in directories]))
