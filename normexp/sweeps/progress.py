"""What a person sees while a sweep runs: a line for each run at work on a terminal, a line for each that has ended elsewhere."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from normexp import rundir
from normexp.rundir import process
from normexp.sweeps.names import labels

STYLES = {"completed": "green", "diverged": "yellow", "failed": "red", "killed": "red", "interrupted": "yellow"}

WORDS = {"completed": "done"}

ENDS = ("completed", "diverged", "failed", "killed", "skipped")
"""States of runs that this sweep will not go on with by itself."""


class View:
    """Follows the runs in a sweep's directory. names: those that can be trained; None where they are not known beforehand.
    total: how many there will be. skipped: how many more can't be trained."""

    def __init__(
        self, console: Console, folder: Path, *, names: Sequence[str] | None, total: int, skipped: int = 0
    ) -> None:
        self._console, self._folder, self._names, self._total, self._skipped = console, folder, names, total, skipped
        self._live: Live | None = None
        self._began: float | None = None
        self._stamps: dict[str, int] = {}
        self._statuses: dict[str, dict[str, Any]] = {}
        self._ended = 0
        self.pause = 0.25 if console.is_terminal else 0.5  # seconds between two ticks
        for _ in self._news():
            pass  # what had ended before is not told

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def tick(self) -> None:
        """Tell what has ended since the last time, and draw anew."""
        for name, status in self._news():
            if status["state"] != "running":
                self._tell(name, status)
        if self._live is not None:
            self._live.update(self._drawing(), refresh=True)

    def _news(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The runs whose status has changed."""
        names = self._names
        if names is None:
            names = sorted(path.parent.name for path in self._folder.glob("*/status.json"))
        for name in names:
            path = self._folder / name / "status.json"
            with suppress(OSError, ValueError):
                stamp = path.stat().st_mtime_ns
                if self._stamps.get(name) != stamp:
                    status = rundir.read_status(path.parent)
                    known = self._statuses.get(name, {}).get("state")
                    # Of a run that has ended, the state is enough: a sweep may have thousands.
                    kept = status if status["state"] == "running" else {"state": status["state"]}
                    self._stamps[name], self._statuses[name] = stamp, kept
                    if status["state"] != known or status["state"] != "running":
                        yield name, status

    def _tell(self, name: str, status: Mapping[str, Any]) -> None:
        state = status["state"]
        self._ended += state in ENDS
        if self._live is not None and state == "completed":
            return
        line = Text(
            f"{self._count():>{len(str(self._total))}}/{self._total}  {name}  ", overflow="ignore", no_wrap=True
        )
        line.append(WORDS.get(state, state), STYLES.get(state))
        accuracy = status["metrics"].get("test/accuracy")
        if state == "completed" and accuracy is not None:
            line.append(f", test accuracy {accuracy:.2%}, {status['seconds']:.1f} s")
        if status["error"]:
            line.append(f": {status['error']}")
        if state in ("failed", "killed"):
            line.append(f"; see {self._folder / name / 'train.log'}")
        self._console.print(line, soft_wrap=True, highlight=False)

    def _count(self) -> int:
        return sum(status["state"] in ENDS for status in self._statuses.values())

    def _drawing(self) -> Group:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, ratio=3)
        table.add_column(ratio=2)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True)
        progress, short = 0.0, labels(self._names or self._statuses)
        for name, status in self._statuses.items():
            if status["state"] == "running" and process.alive(status) is not False:
                entry = last_entry(self._folder / name / "metrics.jsonl")
                step, steps = entry.get("step", status["step"]), status["total_steps"] or 1
                progress += step / steps
                table.add_row(
                    _middle(short[name], 40),
                    ProgressBar(total=steps, completed=step),
                    f"{step}/{steps}",
                    _values(entry),
                )
        return Group(table, self._counts(progress))

    def _counts(self, progress: float) -> Text:
        counts = Counter(status["state"] for status in self._statuses.values())
        counts["skipped"] += self._skipped
        text = Text()
        for state in ("completed", "diverged", "failed", "killed", "skipped"):
            if counts[state] or state == "completed":
                text.append(f"{counts[state]} {WORDS.get(state, state)}  ", STYLES.get(state, "dim"))
        left = self._total - self._count()
        text.append(f"{left} left")
        made = self._ended + progress
        if made > 0 and self._began is None:  # the time before the first run is at work tells nothing
            self._began = time.monotonic()
        if made > 0.2 and left > 0 and self._began is not None:
            seconds = (time.monotonic() - self._began) / made * max(left - progress, 0.0)
            text.append(f"  about {duration(seconds)} to go")
        return text


def last_entry(path: Path, most: int = 65_536) -> dict[str, Any]:
    """The numbers in the last whole entry of a metrics.jsonl that may be written to meanwhile; empty where there is none yet."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        for line in reversed(file.read().splitlines()):
            with suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, dict) and "train/loss" in entry:
                    return {tag: value for tag, value in entry.items() if rundir.finite(value) is not None}
    return {}


def duration(seconds: float) -> str:
    """In words: '40 s', '3 min', '2 h 5 min'."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _values(entry: Mapping[str, Any]) -> str:
    loss, accuracy = entry.get("train/loss"), entry.get("train/accuracy")
    parts = [f"loss {loss:.3g}" if loss is not None else "", f"acc {accuracy:.0%}" if accuracy is not None else ""]
    return "  ".join(filter(None, parts))


def _middle(name: str, most: int) -> str:
    """A name with its middle left out where it is too long: what differs tends to stand at its ends."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most - most // 2) :]}"
