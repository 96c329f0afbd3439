"""Where a run is: all that the training loop carries from one step to the next, beside network, optimizer and generators."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from normexp.probes.base import Findings
from normexp.records import Histogram
from normexp.training.convergence import Point


class Window:
    """The steps since the last entry. What they brought stays on the device until it is fetched, all at once."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self.unchecked = 0
        self.restart()

    def restart(self) -> None:
        self.losses: list[float] = []
        self.correct = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self._losses.append(loss)
        self._logits.append(logits)
        self._labels.append(labels)
        self.unchecked += 1

    def fetch(self, more: Tensor | None) -> list[float]:
        """Bring `losses` and `correct`, the number of right answers, up to date; returns the values of `more`."""
        self.unchecked = 0
        return self._fetch(more)

    def _fetch(self, more: Tensor | None) -> list[float]:
        count = len(self._losses)
        right = (torch.cat(self._logits).argmax(1) == torch.cat(self._labels)).sum()
        parts = [torch.stack(self._losses).double(), right.double()[None]]
        values: list[float] = torch.cat(parts if more is None else [*parts, more]).tolist()
        self.losses += values[:count]
        self.correct += int(values[count])
        for kept in (self._losses, self._logits, self._labels):
            kept.clear()
        return values[count + 1 :]

    def state_dict(self) -> dict[str, Any]:
        # `unchecked` stays: when a checkpoint is made must not decide when a divergence is seen.
        if self._losses:
            self._fetch(None)
        return {"losses": list(self.losses), "correct": self.correct, "unchecked": self.unchecked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.losses, self.correct, self.unchecked = list(state["losses"]), state["correct"], state["unchecked"]


class Stopwatch:
    """Seconds of training: the pauses are left out, once the device has done what it was given before them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = self._lap = time.perf_counter()
        self._so_far: Mapping[str, float] = {"seconds": 0.0, "lap": 0.0}

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self._lap = self._lap, time.perf_counter()
        return self._lap - before

    @contextmanager
    def paused(self) -> Iterator[None]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        before = time.perf_counter()
        try:
            yield
        finally:
            pause = time.perf_counter() - before
            self._start += pause
            self._lap += pause

    def state_dict(self) -> dict[str, float]:
        now = time.perf_counter()
        return {"seconds": now - self._start, "lap": now - self._lap}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self._so_far = dict(state)
        self.start()

    def start(self) -> None:
        """Count from now on, on top of the seconds of the state that was loaded."""
        now = time.perf_counter()
        self._start, self._lap = now - self._so_far["seconds"], now - self._so_far["lap"]


@dataclass(frozen=True)
class Entry:
    """What was measured in a step whose evaluation is still to be done."""

    scalars: Mapping[str, float | None]
    found: Findings


@dataclass
class TrainState:
    """step: updates made so far. scalars: the newest value of each; what a status file needs at any moment. points: the
    evaluations. unfinished: of the step, where it has been made but not reported. error: what made the run diverge, if it did.
    """

    total_steps: int
    clock: Stopwatch
    step: int = 0
    scalars: dict[str, float | None] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    window: Window = field(default_factory=Window)
    unfinished: Entry | None = None
    error: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """Plain values, which a checkpoint keeps."""
        return {
            "step": self.step,
            "scalars": dict(self.scalars),
            "points": [dataclasses.astuple(point) for point in self.points],
            "window": self.window.state_dict(),
            "clock": self.clock.state_dict(),
            "unfinished": None if self.unfinished is None else dataclasses.asdict(self.unfinished),
            "error": self.error,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step, self.error = state["step"], state["error"]
        # A run that goes on beyond its first end has not come to its results any more.
        goes_on = self.step < self.total_steps and self.error is None
        results = ("test/", "convergence/") if goes_on else ()
        self.scalars = {tag: value for tag, value in state["scalars"].items() if not tag.startswith(results)}
        self.points = [Point(*point) for point in state["points"]]
        self.window.load_state_dict(state["window"])
        self.clock.load_state_dict(state["clock"])
        self.unfinished = None if state["unfinished"] is None else _entry(state["unfinished"])


def _entry(state: Mapping[str, Any]) -> Entry:
    found = state["found"]
    histograms = {tag: Histogram(**histogram) for tag, histogram in found["histograms"].items()}
    return Entry(state["scalars"], Findings(found["scalars"], histograms))
