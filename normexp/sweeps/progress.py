"""Progress display of a sweep: a live table of the running runs on a terminal, a line per ended run elsewhere."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from normexp import rundir
from normexp.console import print_message, short_path
from normexp.metrics import format_metric
from normexp.rundir import process
from normexp.rundir.reader import last_training_metrics
from normexp.sweeps.names import short_labels

STYLES = {"completed": "green", "diverged": "yellow", "failed": "red", "killed": "red", "interrupted": "yellow"}

OTHER_COLUMNS = 40
"""Width of the columns next to the labels: a short bar, the steps and the loss."""

ACCURACY_COLUMN = 19
"""Width of the training accuracy, which is left out if the labels need the space."""

MIN_LABEL = 16
"""Characters of a label on a very narrow terminal."""

FINAL_STATES = ("completed", "diverged", "failed", "killed", "skipped")
"""States of runs that this sweep will not train further."""


class ProgressView:
    """Follows the runs in a sweep's directory.

    names: the runs that can be trained; None if they are not known beforehand. total: their number. labels: of runs, by name.
    """

    def __init__(
        self, console: Console, folder: Path, names: Sequence[str] | None, total: int, labels: Mapping[str, str]
    ) -> None:
        self._console, self._folder, self._names, self._total, self._labels = console, folder, names, total, labels
        self._live: Live | None = None
        self._began: float | None = None
        self._stamps: dict[str, int] = {}
        self._statuses: dict[str, Mapping[str, Any]] = {}
        list(self._read_ended())  # those that ended before are not reported
        self._ended = 0  # since the display began
        self.pause = 0.25 if console.is_terminal else 0.5  # seconds between two ticks

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def say(self, text: str) -> None:
        print_message(self._console, text)

    def tick(self) -> None:
        """Print the runs that have ended since the last call, and redraw the table."""
        for name, status in self._read_ended():
            self._ended += status["state"] in FINAL_STATES
            if self._live is None or status["state"] != "completed":
                self._print_ended(name, status)
        if self._live is not None:
            self._live.update(self._render(), refresh=True)

    def _read_ended(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Read the status files that have changed since the last call; yields names and statuses of runs that have ended."""
        names = self._names
        if names is None:
            names = sorted(path.parent.name for path in self._folder.glob("*/status.json"))
        for name in names:
            directory = self._folder / name
            with suppress(OSError, ValueError):
                stamp = (directory / "status.json").stat().st_mtime_ns
                if self._stamps.get(name) != stamp:
                    self._statuses[name] = status = rundir.read_status(directory)
                    self._stamps[name] = stamp
                    if status["state"] != "running":
                        self._statuses[name] = {"state": status["state"]}  # enough: a sweep may have thousands
                        yield name, status

    def _print_ended(self, name: str, status: Mapping[str, Any]) -> None:
        state, counted = status["state"], f"{self._num_ended():>{len(str(self._total))}}/{self._total}"
        line = Text(f"{counted}  {self._labels.get(name, name)}  ")
        line.append(_label(state), STYLES.get(state))
        accuracy = status["metrics"].get("test/accuracy")
        if state == "completed" and accuracy is not None:
            line.append(f", test accuracy {format_metric(accuracy, 'accuracy')}, {status['seconds']:.1f} s")
        if status["error"]:
            line.append(f": {status['error']}")
        if state in ("failed", "killed"):
            line.append(f"; see {short_path(self._folder / name / 'train.log')}")
        print_message(self._console, line)

    def _num_ended(self) -> int:
        return sum(status["state"] in FINAL_STATES for status in self._statuses.values())

    def _render(self) -> Group:
        progress, labels = 0.0, self._labels or short_labels(self._statuses)
        longest = max(map(len, labels.values()), default=0)
        room = max(self._console.width - OTHER_COLUMNS, MIN_LABEL)
        label_column = Column(no_wrap=True, min_width=min(longest, room))
        table = Table.grid(label_column, Column(ratio=1), padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True)
        for name, status in self._statuses.items():
            if status["state"] == "running" and process.alive(status) is not False:
                entry, label = last_training_metrics(self._folder / name), labels[name]
                step, steps = entry.get("step", status["step"]), status["total_steps"] or 1
                progress += step / steps
                if len(label) > room:
                    label = f"{label[: (room - 1) // 2]}…{label[-(room // 2) :]}"
                values = f"loss {entry['train/loss']:.3g}" if "train/loss" in entry else ""
                if "train/accuracy" in entry and longest + ACCURACY_COLUMN <= room:
                    values += f"  train acc {format_metric(entry['train/accuracy'], 'accuracy')}"
                table.add_row(label, ProgressBar(total=steps, completed=step), f"{step}/{steps}", values)
        return Group(table, self._render_counts(progress))

    def _render_counts(self, progress: float) -> Text:
        counts = Counter(status["state"] for status in self._statuses.values())
        text = Text()
        for state in FINAL_STATES:
            if counts[state] or state == "completed":
                text.append(f"{counts[state]} {_label(state)}  ", STYLES.get(state, "dim"))
        left = self._total - self._num_ended()
        text.append(f"{left} to do")
        done = self._ended + progress  # in runs, since the display began
        if done > 0 and self._began is None:  # the time before the first run trains is left out of the estimate
            self._began = time.monotonic()
        if done > 0.2 and left > 0 and self._began is not None:
            seconds = (time.monotonic() - self._began) / done * max(left - progress, 0.0)
            text.append(f"  about {format_duration(seconds)} left")
        return text


def _label(state: str) -> str:
    return "done" if state == "completed" else state


def format_duration(seconds: float) -> str:
    """A duration such as '40 s', '3 min' or '2 h 5 min'."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
