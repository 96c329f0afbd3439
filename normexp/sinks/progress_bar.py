"""Progress of a run: a live bar on a terminal, plain lines elsewhere."""

import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from normexp.metrics import format_metric
from normexp.records import TOTAL_GRAD_NORM, Record

REFRESH_SECONDS = 0.25  # between redraws; one takes as long as a step of a small network
STATUS_REFRESH_RATE = 4  # spinner redraws per second; they slow down the loading
PLAIN_LINE_SECONDS = 1.0  # between plain lines, so that frequent evaluations do not flood a log file

BAR_LABELS = {"train/loss": "loss", "val/accuracy": "val acc", TOTAL_GRAD_NORM: "grad"}
LABELS = {"train/loss": "train loss", "val/loss": "val loss", "val/accuracy": "val acc", TOTAL_GRAD_NORM: "grad norm"}
"""Scalars to show, with their labels: on the bar, and on plain lines."""


class RunConsole(Console):
    """A console that goes quiet instead of ending the run if stdout is a closed pipe (`normexp train | head`) or is redirected
    to a full disk."""

    _error: OSError | None = None

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError as error:
            self.quiet, self._error = True, error

    def close(self) -> None:
        """Raise the OSError that silenced the console, if any."""
        if self._error is not None:
            raise self._error

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class ProgressBar:
    """Shows loss, accuracy and gradient norm. A plain line is printed at each evaluation."""

    def __init__(self, console: Console, total_steps: int, saved: Mapping[str, Any] | None = None) -> None:
        self._console, self._total = console, total_steps
        self._values: dict[str, float] = dict(saved["values"]) if saved else {}
        self._step = saved["step"] if saved else 0
        self._drawn = 0.0
        self._evaluation_seconds = math.inf  # of the last evaluation
        self._progress: Progress | None = None
        if console.is_terminal:
            values, time_left = TextColumn("{task.fields[values]}"), TimeRemainingColumn(compact=True)
            columns = BarColumn(bar_width=None), MofNCompleteColumn(), values, time_left
            self._progress = Progress(*columns, console=console, auto_refresh=False, expand=True, transient=True)
            self._task = self._progress.add_task("", total=total_steps, values="", completed=self._step)
            self._progress.start()

    def log(self, record: Record) -> None:
        self._step = record.step
        self._values.update({tag: value for tag, value in record.scalars.items() if value is not None})
        now = time.monotonic()
        elapsed = math.inf if record.step == self._total else now - self._drawn  # the last step is always shown
        if self._progress is not None:
            if elapsed > REFRESH_SECONDS:
                self._progress.update(self._task, completed=record.step, values=self._text(BAR_LABELS), refresh=True)
                self._drawn = now
        elif "val/accuracy" in record.scalars and elapsed > PLAIN_LINE_SECONDS:
            line = f"step {record.step}/{self._total}  epoch {record.epoch:.4g}  {self._text(LABELS)}"
            self._console.print(line, highlight=False, soft_wrap=True)
            self._drawn = now

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Show that an evaluation is running, unless the last one was too short to notice."""
        if self._progress is not None and self._evaluation_seconds > REFRESH_SECONDS:
            values = "  ".join(filter(None, [self._text(BAR_LABELS), "evaluating"]))
            self._progress.update(self._task, completed=self._step, values=values, refresh=True)
        start = time.monotonic()
        yield
        self._evaluation_seconds = time.monotonic() - start

    def close(self, *, success: bool) -> None:
        if self._progress is not None:
            self._progress.stop()

    def state_dict(self) -> dict[str, Any]:
        return {"values": dict(self._values), "step": self._step}

    def _text(self, names: Mapping[str, str]) -> str:
        return "  ".join(
            f"{name} {format_metric(self._values[tag], tag)}" for tag, name in names.items() if tag in self._values
        )
