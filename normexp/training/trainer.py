"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from normexp.config import Config
from normexp.models.layer import named_layers
from normexp.norms import NORMS
from normexp.probes.base import Findings
from normexp.probes.gradients import GradientNorms
from normexp.probes.look import Step
from normexp.record import Record
from normexp.training.build import Parts
from normexp.training.convergence import Point, convergence
from normexp.training.evaluate import evaluate, evaluate_with_batch_statistics
from normexp.training.schedules import lr_factor


@dataclass
class Progress:
    """How far a run is, and the newest value of each scalar; what a status file needs at any moment."""

    total_steps: int
    step: int = 0
    scalars: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    state: Literal["completed", "diverged", "interrupted"]
    error: str | None = None


def fit(
    parts: Parts,
    config: Config,
    progress: Progress,
    *,
    log: Callable[[Record], None],
    interrupted: Callable[[], bool],
) -> Outcome:
    """Train to the end, to a non-finite loss or gradient, or until `interrupted` says so; then test, if at the end.

    Nothing here waits for the device on a step that does not log: losses and logits are kept there and fetched together.
    """
    data, model, optimizer = parts.data, parts.model, parts.optimizer
    total, epoch_steps = parts.sizes.total_steps, parts.sizes.steps_per_epoch
    eval_every = config.eval_every or epoch_steps
    parameters, gradient_norms = list(model.parameters()), GradientNorms(named_layers(model))
    clock, window, points = Stopwatch(parts.device), Window(), list[Point]()

    def report(step: int, seconds: float, scalars: Mapping[str, float | None], found: Findings) -> None:
        scalars = {**scalars, **found.scalars}
        progress.scalars.update(scalars)
        log(Record(step, step / epoch_steps, seconds, scalars, found.histograms))

    def validate(step: int) -> dict[str, float | None]:
        with clock.paused():
            scalars = _validation(parts, config)
        accuracy = scalars["val/accuracy"]
        assert accuracy is not None
        points.append(Point(step, clock.seconds(), accuracy))
        return scalars

    model.train()
    start = validate(0)
    for step, index in enumerate(_order(parts, config.batch_size), start=1):
        logs = step == 1 or step % config.log_every == 0 or step == total
        evaluates = step % eval_every == 0 or step == total

        lr = config.peak_lr * lr_factor(config.schedule, step - 1, total)
        for group in optimizer.param_groups:
            group["lr"] = lr
        inputs, labels = data.train.batch(index, parts.augment)
        look = parts.probes.look(Step(step, total, model, inputs, labels, config.peak_lr))
        with look or nullcontext():
            logits = model(inputs)
        loss = F.cross_entropy(logits, labels)
        for parameter in parameters:  # what optimizer.zero_grad() does, at a tenth of its cost
            parameter.grad = None
        loss.backward()
        norms = gradient_norms.on_device() if logs else None  # before clipping
        if look:
            look.gradients()
        if config.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimizer.step()
        if look:
            look.updated()
        window.add(loss.detach(), logits.detach(), labels)
        progress.step = step

        scalars: dict[str, float | None] = {}
        error = None
        if logs or evaluates or window.pending == MOST_PENDING:
            norm_values = window.fetch(norms)
            error = _non_finite_loss(step, window.losses)
        if logs or error:
            gradients = gradient_norms.by_layer(norm_values) if logs else {}
            scalars = {
                "train/loss": sum(window.losses) / len(window.losses),
                "train/accuracy": window.correct / (len(window.losses) * config.batch_size),
                "lr": lr,
                **gradients,
                "speed/samples_per_second": len(window.losses) * config.batch_size / clock.lap(),
            }
            window.restart()
            error = error or _non_finite_gradient(step, gradients)
        if error is None and evaluates:
            scalars |= validate(step)
            if step == total:
                with clock.paused():
                    test_loss, test_accuracy = evaluate(model, data.test)
                scalars |= {"test/loss": test_loss, "test/accuracy": test_accuracy}
            error = _non_finite_evaluation(step, scalars)
        if error is not None or step == total:
            scalars |= convergence(points)
        found = look.findings() if look else Findings()
        if step == 1:  # its look was at the weights before any update
            report(0, points[0].seconds, start, found)
            found = Findings()
        if scalars or found.scalars:
            report(step, clock.seconds(), scalars, found)
        if error is not None:
            return Outcome("diverged", error)
        if step == total:
            break
        if interrupted():
            return Outcome("interrupted")
    return Outcome("completed")


def _order(parts: Parts, batch_size: int) -> Iterator[Tensor]:
    """Indices of one batch after another, each epoch in a new order, without its incomplete last batch."""
    used = parts.sizes.steps_per_epoch * batch_size
    while True:
        order = torch.randperm(len(parts.data.train), generator=parts.order).to(parts.device)
        yield from order[:used].split(batch_size)


def _validation(parts: Parts, config: Config) -> dict[str, float | None]:
    loss, accuracy = evaluate(parts.model, parts.data.val)
    scalars: dict[str, float | None] = {"val/loss": loss, "val/accuracy": accuracy}
    if NORMS[config.norm.name].uses_batch:
        loss, accuracy = evaluate_with_batch_statistics(parts.model, parts.data.val, config.batch_size)
        scalars |= {"val/loss_batch_statistics": loss, "val/accuracy_batch_statistics": accuracy}
    return scalars


def _non_finite_loss(step: int, losses: list[float]) -> str | None:
    """Which of the losses of the steps up to `step` is the first that is not finite, in words; None where all are."""
    for at, loss in enumerate(losses, start=step - len(losses) + 1):
        if not math.isfinite(loss):
            return f"the loss became {loss} in step {at}"
    return None


def _non_finite_gradient(step: int, norms: Mapping[str, float]) -> str | None:
    norm = norms.get("grad_norm/total", 0.0)
    return None if math.isfinite(norm) else f"the norm of the gradient became {norm} in step {step}"


def _non_finite_evaluation(step: int, scalars: Mapping[str, float | None]) -> str | None:
    """The same for the losses of an evaluation, which see the last update too."""
    for tag in ("val/loss", "test/loss"):
        loss = scalars.get(tag)
        if loss is not None and not math.isfinite(loss):
            return f"{tag} became {loss} after step {step}"
    return None


MOST_PENDING = 100
"""Steps whose losses and logits are left on the device at most: this bounds their memory, and how late a divergence is seen."""


class Window:
    """The steps since the last entry. What they brought stays on the device until it is fetched, all at once."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self.restart()

    def restart(self) -> None:
        self.losses: list[float] = []
        self.correct = 0

    @property
    def pending(self) -> int:
        return len(self._losses)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self._losses.append(loss)
        self._logits.append(logits)
        self._labels.append(labels)

    def fetch(self, more: Tensor | None) -> list[float]:
        """Bring `losses` and `correct`, the number of right answers, up to date; returns the values of `more`."""
        count = len(self._losses)
        right = (torch.cat(self._logits).argmax(1) == torch.cat(self._labels)).sum()
        parts = [torch.stack(self._losses).double(), right.double()[None]]
        values: list[float] = torch.cat(parts if more is None else [*parts, more]).tolist()
        self.losses += values[:count]
        self.correct += int(values[count])
        for kept in (self._losses, self._logits, self._labels):
            kept.clear()
        return values[count + 1 :]


class Stopwatch:
    """Seconds of training: the pauses are left out, once the device has done what it was given before them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = self._lap = time.perf_counter()

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
        yield
        pause = time.perf_counter() - before
        self._start += pause
        self._lap += pause
