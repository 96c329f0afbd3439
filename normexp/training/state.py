"""Training state carried between steps, except for model, optimizer and random generators; convergence metrics."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from normexp.probes.base import Measurements
from normexp.records import Histogram

ACCURACY_LEVELS = (50, 80, 90, 95, 99)  # validation accuracies in percent; the first step to reach each is recorded


class Point(NamedTuple):
    """An evaluation on the validation samples. seconds: of training, without evaluations."""

    step: int
    seconds: float
    accuracy: float


def convergence(points: Sequence[Point]) -> dict[str, float | None]:
    """Convergence metrics by tag.

    Steps and seconds to each level (None if it was not reached; their resolution is `eval_every`), the best accuracy and its
    step, and the area under the accuracy curve over the steps, as a mean accuracy in [0, 1] (trapezoidal rule).
    """
    summary: dict[str, float | None] = {}
    for level in ACCURACY_LEVELS:
        first = next((p for p in points if p.accuracy >= level / 100), None)
        summary[f"convergence/steps_to_{level}"] = None if first is None else first.step
        summary[f"convergence/seconds_to_{level}"] = None if first is None else first.seconds
    if points:
        best = max(points, key=lambda p: p.accuracy)
        summary["convergence/best_accuracy"] = best.accuracy
        summary["convergence/best_step"] = best.step
    if len(points) > 1:
        area = sum((b.step - a.step) * (a.accuracy + b.accuracy) / 2 for a, b in pairwise(points))
        summary["convergence/area_under_curve"] = area / (points[-1].step - points[0].step)
    return summary


class Window:
    """Losses and correct predictions of the steps since the last record, kept on the device until `fetch`."""

    def __init__(self) -> None:
        self._on_device: list[tuple[Tensor, Tensor, Tensor]] = []
        self.unchecked = 0
        self.restart()

    def restart(self) -> None:
        self.losses: list[float] = []
        self.correct = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self._on_device.append((loss, logits, labels))
        self.unchecked += 1

    def fetch(self, extra: Tensor | None) -> list[float]:
        """Update `losses` and `correct`; returns the values of `extra`, (n,) float64, fetched in the same transfer."""
        losses, logits, labels = zip(*self._on_device, strict=True)
        correct = (torch.cat(logits).argmax(1) == torch.cat(labels)).sum()
        parts = [torch.stack(losses).double(), correct.double()[None]]
        values: list[float] = torch.cat(parts if extra is None else [*parts, extra]).tolist()
        count = len(losses)
        self.losses += values[:count]
        self.correct += int(values[count])
        self._on_device, self.unchecked = [], 0
        return values[count + 1 :]

    def state_dict(self) -> dict[str, Any]:
        unchecked = self.unchecked
        if self._on_device:
            self.fetch(None)
        self.unchecked = unchecked  # saving a checkpoint must not change when a divergence is detected
        return {"losses": list(self.losses), "correct": self.correct, "unchecked": unchecked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.losses, self.correct, self.unchecked = list(state["losses"]), state["correct"], state["unchecked"]


class Stopwatch:
    """Measures training time without pauses. A pause begins when the device has finished its queued work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = self._lap = time.perf_counter()
        self._elapsed: Mapping[str, float] = {"seconds": 0.0, "lap": 0.0}

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
        self._elapsed = dict(state)
        self.start()

    def start(self) -> None:
        """Start counting now, from the loaded seconds if a state was loaded."""
        now = time.perf_counter()
        self._start, self._lap = now - self._elapsed["seconds"], now - self._elapsed["lap"]


class PendingRecord(NamedTuple):
    """Measurements of a training step whose evaluation is not finished."""

    scalars: Mapping[str, float | None]
    measurements: Measurements


@dataclass
class TrainState:
    """The state of the training loop.

    step: number of updates so far. scalars: the latest value of each tag. points: one per evaluation. pending: the record of
    the current step until it is logged; an interrupted evaluation leaves it set. error: why the run diverged.
    """

    total_steps: int
    device: torch.device
    step: int = 0
    scalars: dict[str, float | None] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    window: Window = field(default_factory=Window)
    pending: PendingRecord | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        self.clock = Stopwatch(self.device)

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint. The keys belong to its FORMAT and must not be renamed."""
        pending = self.pending and {
            "scalars": dict(self.pending.scalars),
            "found": dataclasses.asdict(self.pending.measurements),
        }
        return {
            "step": self.step,
            "scalars": dict(self.scalars),
            "points": [tuple(point) for point in self.points],
            "window": self.window.state_dict(),
            "clock": self.clock.state_dict(),
            "unfinished": pending,
            "error": self.error,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step, self.error = state["step"], state["error"]
        # The final results of the shorter run don't hold for an extended one.
        extended = self.step < self.total_steps and self.error is None
        stale = ("test/", "convergence/") if extended else ()
        self.scalars = {tag: value for tag, value in state["scalars"].items() if not tag.startswith(stale)}
        self.points = [Point(*point) for point in state["points"]]
        self.window.load_state_dict(state["window"])
        self.clock.load_state_dict(state["clock"])
        self.pending = None
        if pending := state["unfinished"]:
            histograms = {tag: Histogram(**histogram) for tag, histogram in pending["found"]["histograms"].items()}
            self.pending = PendingRecord(pending["scalars"], Measurements(pending["found"]["scalars"], histograms))
