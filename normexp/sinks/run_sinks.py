"""All sinks of a run, opened, logged to and closed together."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from normexp.records import Record, RunInfo, Sink
from normexp.rundir.atomic import WriteError
from normexp.sinks.histogram_sheet import HistogramSheet
from normexp.sinks.jsonl import JsonLines
from normexp.sinks.progress_bar import ProgressBar
from normexp.sinks.tensorboard import TensorBoard
from normexp.sinks.tracker import Tracker


class RunSinks:
    """`by_name` holds the sinks in the order of closing; checkpoints store their states under the same names."""

    def __init__(
        self,
        directory: Path,
        info: RunInfo,
        console: Console,
        total_steps: int,
        saved: Mapping[str, Any] | None = None,
        *,
        tracker: str | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """saved: the `state_dict` of an earlier part of the run, whose files are continued. stopping: whether the run was asked
        to stop. Raises WriteError."""
        saved = saved or {}
        tensorboard = TensorBoard(directory, info, saved.get("tensorboard"))
        try:
            metrics = JsonLines(directory / "metrics.jsonl", saved.get("metrics"))
        except WriteError:
            with suppress(WriteError):
                tensorboard.close(success=False)
            raise
        show = partial(tensorboard.picture, "histograms")
        choices = ", ".join(f"{key}={info.hyperparameters[key].value}" for key in ("norm", "model", "data"))
        self.progress = ProgressBar(console, total_steps, saved.get("terminal"))
        self.by_name: dict[str, Sink] = {
            "metrics": metrics,
            "sheet": HistogramSheet(directory / "histograms.png", choices, show, saved.get("sheet")),
            "tensorboard": tensorboard,
            "terminal": self.progress,
        }
        self.tracker: Tracker | None = None
        if tracker is not None:
            logged_bytes = saved["metrics"]["size"] if "metrics" in saved else 0
            self.tracker = Tracker(directory, tracker, console, logged_bytes=logged_bytes, stopping=stopping)
            self.by_name["tracker"] = self.tracker

    def log(self, record: Record) -> None:
        for sink in self.by_name.values():
            sink.log(record)

    def close(self, *, success: bool, draw: bool = True) -> None:
        """Close all sinks but the tracker, which uploads the run when its status is final. Failed writes are ignored: they were
        reported earlier, or lose no more than the last events. draw: whether to draw the histogram sheet once more."""
        for name, sink in self.by_name.items():
            if name != "tracker" and (draw or name != "sheet"):
                with suppress(OSError):
                    sink.close(success=success)

    def state_dict(self) -> dict[str, Any]:
        return {name: sink.state_dict() for name, sink in self.by_name.items()}
