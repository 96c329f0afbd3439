"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from normexp.config import Config
from normexp.models.layer import named_layers
from normexp.norms import NORMS
from normexp.probes.activations import ActivationLook, find_activations
from normexp.probes.gradients import GradientNorms
from normexp.probes.histogram import Sampler
from normexp.record import Histogram, Record
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
    parameters, layers = list(model.parameters()), named_layers(model)
    gradient_norms = GradientNorms(layers)
    activations, sampler = find_activations(layers), Sampler(config.probe.samples)
    clock, window, points = Stopwatch(), Window(), list[Point]()

    def report(step: int, scalars: dict[str, float | None], histograms: dict[str, Histogram]) -> None:
        progress.scalars.update(scalars)
        log(Record(step, step / epoch_steps, clock.seconds(), scalars, histograms))

    def validate(step: int) -> dict[str, float | None]:
        with clock.paused():
            scalars = _validation(parts, config)
        accuracy = scalars["val/accuracy"]
        assert accuracy is not None
        points.append(Point(step, clock.seconds(), accuracy))
        return scalars

    model.train()
    report(0, validate(0), {})
    for step, index in enumerate(_order(parts, config.batch_size), start=1):
        if interrupted():
            return Outcome("interrupted")
        logs = step == 1 or step % config.log_every == 0 or step == total
        looks = config.probe.every is not None and (step == 1 or step % config.probe.every == 0 or step == total)

        lr = config.lr * lr_factor(config.schedule, step - 1, total)
        for group in optimizer.param_groups:
            group["lr"] = lr
        inputs, labels = data.train.batch(index, parts.augment)
        look = ActivationLook(activations, sampler) if looks else None
        with look or nullcontext():
            logits = model(inputs)
        loss = F.cross_entropy(logits, labels)
        for parameter in parameters:  # what optimizer.zero_grad() does, at a tenth of its cost
            parameter.grad = None
        loss.backward()
        norms = gradient_norms.on_device() if logs else None  # before clipping
        if config.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimizer.step()
        window.add(loss.detach(), logits.detach(), labels)
        progress.step = step

        scalars: dict[str, float | None] = {}
        if norms is not None:
            losses, accuracy, norm_values = window.fetch(norms)
            seconds, samples = clock.lap(), len(losses) * config.batch_size
            gradients = gradient_norms.by_layer(norm_values)
            scalars = {
                "train/loss": sum(losses) / len(losses),
                "train/accuracy": accuracy,
                "lr": lr,
                **gradients,
                "speed/samples_per_second": samples / seconds,
            }
            error = _divergence(step, losses, gradients["grad_norm/total"])
            if error is not None:
                scalars |= convergence(points)
                report(step, scalars, look.histograms() if look else {})
                return Outcome("diverged", error)
        if step % eval_every == 0 or step == total:
            scalars |= validate(step)
        if step == total:
            with clock.paused():
                test_loss, test_accuracy = evaluate(model, data.test)
            scalars |= {"test/loss": test_loss, "test/accuracy": test_accuracy, **convergence(points)}
        if scalars or look:
            report(step, scalars, look.histograms() if look else {})
        if step == total:
            break
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


def _divergence(step: int, losses: list[float], gradient_norm: float) -> str | None:
    """What went wrong in the steps up to `step` whose losses these are, and in which of them; None where all is finite."""
    for at, loss in enumerate(losses, start=step - len(losses) + 1):
        if not math.isfinite(loss):
            return f"the loss became {loss} in step {at}"
    if not math.isfinite(gradient_norm):
        return f"the norm of the gradient became {gradient_norm} in step {step}"
    return None


class Window:
    """Losses and answers of the steps since the last fetch, left on the device until then."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self._losses.append(loss)
        self._logits.append(logits)
        self._labels.append(labels)

    def fetch(self, more: Tensor) -> tuple[list[float], float, list[float]]:
        """The loss of each step, the accuracy over all of them, and the values of `more`, in one transfer; starts anew."""
        right = torch.cat(self._logits).argmax(1) == torch.cat(self._labels)
        count = len(self._losses)
        values: list[float] = torch.cat([torch.stack(self._losses), right.float().mean()[None], more]).tolist()
        for kept in (self._losses, self._logits, self._labels):
            kept.clear()
        return values[:count], values[count], values[count + 1 :]


class Stopwatch:
    """Seconds of training: the pauses are left out."""

    def __init__(self) -> None:
        self._start = self._lap = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self._lap = self._lap, time.perf_counter()
        return self._lap - before

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        pause = time.perf_counter() - before
        self._start += pause
        self._lap += pause
