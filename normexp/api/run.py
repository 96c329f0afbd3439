"""Runs in Python: normexp.load and Run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from normexp import rundir
from normexp.api.table import to_table
from normexp.api.words import one_at_a_time
from normexp.commands.resume_run import with_paths
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, show, suggest
from normexp.console import short_path
from normexp.data import info
from normexp.metrics import format_metric
from normexp.report import read

if TYPE_CHECKING:
    from torch import nn

    from normexp.data.splits import Split


class Run:
    """A run directory, as it was when it was loaded. `normexp.train`, `normexp.load` and `normexp.load_runs` return it."""

    def __init__(self, run: read.Run) -> None:
        self._run, self._directory = run, run.directory.absolute()  # the caller may change to another folder

    @property
    def directory(self) -> Path:
        """The run directory, as an absolute path."""
        return self._directory

    @property
    def name(self) -> str:
        """The name of the run directory; in `normexp.load_runs`, its path relative to the folder that was loaded."""
        return self._run.name

    @property
    def state(self) -> str:
        """`completed`, `diverged`, `interrupted`, `running`, `failed`, `killed` or `skipped`."""
        return self._run.state

    @property
    def status(self) -> Mapping[str, Any]:
        """The content of status.json: `step`, `total_steps`, `seconds`, `error`, `started`, ..."""
        return self._run.status

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """The last value of each metric, such as `test/accuracy`. None for a number that is not finite."""
        return self._run.metrics

    @cached_property
    def config(self) -> Config:
        """The typed config: `run.config.norm.eps`. Raises ConfigError without its data set, and for a run of `watch`."""
        try:
            stored = rundir.read_config(self.directory)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{show(self.directory, 300)}: its config.yaml can't be read.") from error
        return validate(with_paths(self.directory, stored, {}))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return info(self.config.data).class_names

    def history(self, *metrics: str) -> Any:
        """The metrics over training, a row for each step that logged any of them.

        metrics: names such as `"val/accuracy"`; by default all. Returns a pandas DataFrame if pandas is installed, else a dict of
        NumPy arrays; both have the columns step, epoch, seconds and the metrics. Missing and non-finite values are NaN. Raises
        ConfigError for a metric that was not logged.
        """
        rows: dict[int, dict[str, Any]] = {}
        has_file = (self.directory / "metrics.jsonl").exists()
        for entry in rundir.read_metrics(self.directory) if has_file else ():
            rows.setdefault(entry["step"], {}).update(entry)  # if a step was logged twice, the later entry counts
        heads = ("step", "epoch", "seconds")
        logged = [tag for tag in dict.fromkeys(tag for row in rows.values() for tag in row) if tag != "nonfinite"]
        for tag in metrics:
            if tag not in logged:
                raise ConfigError(
                    f"{show(tag)}: {show(short_path(self.directory), 300)} has not logged this metric.{suggest(tag, logged)}"
                )
        kept = [row for _, row in sorted(rows.items()) if not metrics or any(tag in row for tag in metrics)]
        columns = dict.fromkeys((*heads, *(metrics or logged)))
        return to_table({tag: [row.get(tag) for row in kept] for tag in columns}, numbers=columns.keys() - {"step"})

    def model(self) -> "nn.Module":
        """The trained network of the last checkpoint, on the CPU, in evaluation mode.

        Batch norm uses its running statistics. Raises ConfigError if the checkpoint is missing or can't be used.
        """
        from normexp.training.evaluate_run import trained_model

        with _own_state():
            return trained_model(self.directory, self.config)

    def data(self, split: Literal["train", "val", "test"] = "test") -> "Split":
        """The run's own split of its data, on the CPU.

        `inputs` are the samples as the network gets them, (N, C, H, W) or (N, F); `images` the stored ones; `labels` have shape
        (N,); `batches(size)` gives pairs of inputs and labels. Raises ConfigError if the data is missing or has changed since.
        """
        known = ("train", "val", "test")
        if split not in known:
            raise ConfigError(f"{show(split)}: split is one of {', '.join(known)}.{suggest(str(split), known)}")
        import torch

        from normexp.data.splits import load as load_data
        from normexp.training import checkpoint

        with _own_state():
            splits = load_data(self.config, torch.device("cpu"))
        path = self.directory / checkpoint.NAME
        if path.is_file():
            try:
                checkpoint.check_data(checkpoint.load(path), splits.fingerprint, self.config)
            except checkpoint.CheckpointError as error:
                raise ConfigError(f"{show(path, 300)} can't be used: {error}.") from error
        chosen: Split = getattr(splits, split)
        return chosen

    def __repr__(self) -> str:
        parts = [show(short_path(self.directory), 300), self.state]
        for tag in ("test/accuracy", "val/accuracy"):
            if (value := self.metrics.get(tag)) is not None:
                parts.append(f"{tag} {format_metric(value, tag)}")
                break
        return f"Run({', '.join(parts)})"


@contextmanager
def _own_state() -> Iterator[None]:
    from normexp.training.isolation import own_global_state

    with one_at_a_time, own_global_state():
        yield


def load(directory: str | Path) -> Run:
    """Load a run directory, of whatever state. Raises ConfigError if it is not one, or damaged."""
    path = Path(directory).expanduser()
    runs = read.read([path]).runs
    if [run.directory for run in runs] != [path]:
        raise ConfigError(f"{show(path, 300)} is not a run but has runs in it: use normexp.load_runs.")
    return Run(runs[0])
