"""What a person sees while a run trains: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from normexp.records import Record

REFRESH = 0.25
"""Seconds between redraws. Drawing takes milliseconds, as long as a step of a small net, so it must be rare."""


class RunConsole(Console):
    """A console whose closed pipe (`normexp train | head`) ends the display, not the run. So does a full disk that it goes to; of
    that, `close` tells."""

    _error: OSError | None = None

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError as error:
            self.quiet, self._error = True, error

    def close(self) -> None:
        """Raises the OSError that ended the display, if one did."""
        if self._error is not None:
            raise self._error

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Terminal:
    """Shows loss, accuracies and gradient norm. Plain lines come with each evaluation, at most one a second but the last."""

    def __init__(self, console: Console, total_steps: int, saved: Mapping[str, Any] | None = None) -> None:
        self._console, self._total = console, total_steps
        self._values: dict[str, float] = dict(saved["values"]) if saved else {}
        self._step = saved["step"] if saved else 0
        self._drawn = 0.0
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[values]}"),
                TimeRemainingColumn(compact=True),
                console=console,
                auto_refresh=False,
                expand=True,
                transient=True,
            )
            self._task = self._progress.add_task("", total=total_steps, values="", completed=self._step)
            self._progress.start()

    def log(self, record: Record) -> None:
        self._step = record.step
        self._values.update({tag: value for tag, value in record.scalars.items() if value is not None})
        last, now = record.step == self._total, time.monotonic()
        if self._progress is not None and (last or now - self._drawn > REFRESH):
            self._progress.update(self._task, completed=record.step, values=self._text(short=True), refresh=True)
            self._drawn = now
        elif self._progress is None and "val/accuracy" in record.scalars and (last or now - self._drawn > 1.0):
            epoch = f"epoch {record.epoch:.4g}"
            self._console.print(
                f"step {record.step}/{self._total}  {epoch}  {self._text(short=False)}", highlight=False, soft_wrap=True
            )
            self._drawn = now

    def close(self, *, success: bool) -> None:
        if self._progress is not None:
            self._progress.stop()

    def state_dict(self) -> dict[str, Any]:
        return {"values": dict(self._values), "step": self._step}

    def _text(self, *, short: bool) -> str:
        names = {"train/loss": "loss", "val/accuracy": "val acc", "grad_norm/total": "grad"}
        if not short:
            names = {
                "train/loss": "train loss",
                "val/loss": "val loss",
                "val/accuracy": "val accuracy",
                "grad_norm/total": "grad norm",
            }
        return "  ".join(f"{name} {self._values[tag]:.4g}" for tag, name in names.items() if tag in self._values)
