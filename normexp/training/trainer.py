"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch.nn import functional as F

from normexp.config import Cadence, Config
from normexp.models.layer import named_layers
from normexp.norms import NORMS
from normexp.optim.schedules import lr_factor
from normexp.probes.base import Findings
from normexp.probes.gradients import GradientNorms
from normexp.probes.recorder import Step
from normexp.records import Record
from normexp.training.anomaly import AnomalyError
from normexp.training.bn_statistics import for_evaluation
from normexp.training.build import Parts
from normexp.training.convergence import Point, convergence
from normexp.training.evaluate import StoppedError, evaluate, evaluate_with_batch_statistics
from normexp.training.profile import Unprofiled
from normexp.training.state import Entry, TrainState


@dataclass(frozen=True)
class Outcome:
    state: Literal["completed", "diverged", "interrupted"]
    error: str | None = None


def fit(
    parts: Parts,
    config: Config,
    course: TrainState,
    *,
    log: Callable[[Record], None],
    interrupted: Callable[[], bool],
    save: Callable[[], None] = lambda: None,
    profile: Unprofiled = Unprofiled(),  # noqa: B008 - it holds nothing
) -> Outcome:
    """Train from where the course is to the end, to a non-finite loss or gradient, or until `interrupted` says so; then test, if
    at the end. `save` is called when a checkpoint is due. profile: is told what the loop does.

    Nothing here waits for the device on a step that does not log: losses and logits are kept there and fetched together.
    """
    data, model, optimizer, arithmetic = parts.data, parts.model, parts.optimizer, parts.arithmetic
    total, epoch_steps = course.total_steps, parts.sizes.steps_per_epoch
    eval_every = config.eval_every or epoch_steps
    parameters, gradient_norms = list(model.parameters()), GradientNorms(named_layers(model))
    clock, window = course.clock, course.window
    checkpoint_due = _cadence(config.checkpoints)
    region = profile.region
    statistics = partial(for_evaluation, model, config, data.train, interrupted)

    def report(step: int, seconds: float, scalars: Mapping[str, float | None], found: Findings) -> None:
        scalars = {**scalars, **found.scalars}
        course.scalars.update(scalars)
        with region("log"):
            log(Record(step, step / epoch_steps, seconds, scalars, found.histograms))

    def validate() -> tuple[dict[str, float | None], Point]:
        with clock.paused(), arithmetic.autocast(), region("evaluate"), statistics() as seen:
            scalars = {**_validation(parts, config, interrupted), **seen}
        accuracy = scalars["val/accuracy"]
        assert accuracy is not None
        return scalars, Point(course.step, clock.seconds(), accuracy)

    def conclude(entry: Entry, error: str | None) -> None:
        """Evaluate, if the step is one for it, and report the step. An interruption leaves it unfinished."""
        step, scalars = course.step, dict(entry.scalars)
        course.unfinished = entry
        if error is None and (step % eval_every == 0 or step == total):
            validation, point = validate()
            scalars |= validation
            if step == total:
                with clock.paused(), arithmetic.autocast(), region("evaluate"), statistics():
                    test_loss, test_accuracy = evaluate(model, data.test, interrupted)
                scalars |= {"test/loss": test_loss, "test/accuracy": test_accuracy}
            course.points.append(point)
            error = _non_finite_evaluation(step, scalars)
        if error is not None or step == total:
            scalars |= convergence(course.points)
        if scalars or entry.found.scalars:
            report(step, clock.seconds(), scalars, entry.found)
        course.unfinished, course.error = None, error

    model.train()
    clock.start()
    try:
        if course.step == 0:
            start, point = validate()
            course.points = [point]
        if course.unfinished is not None:
            conclude(course.unfinished, None)
        while course.step < total and course.error is None:
            if interrupted():
                return Outcome("interrupted")
            profile.step()
            step = course.step + 1
            logs = step == 1 or step % config.log_every == 0 or step == total
            evaluates = step % eval_every == 0 or step == total

            lr = config.peak_lr * lr_factor(config.schedule, step - 1, total)
            for group in optimizer.param_groups:
                group["lr"] = lr
            with region("batch"):
                inputs, labels = data.train.batch(next(parts.order), parts.augment)
            scale = arithmetic.loss_scale()
            look = parts.probes.look(
                Step(step, total, model, inputs, labels, config.peak_lr, arithmetic.autocast, scale)
            )
            for parameter in parameters:  # what optimizer.zero_grad() does, at a tenth of its cost
                parameter.grad = None  # before the forward pass: a CUDA graph writes over the last step's gradients
            with region("forward"), arithmetic.autocast():
                with look or nullcontext():
                    logits = model(inputs) if look else parts.forward(inputs)
                loss = F.cross_entropy(logits, labels)  # in float32, also where the logits are not
            with region("backward"):
                arithmetic.backward(loss, optimizer)
            norms = gradient_norms.on_device() if logs else None  # before clipping
            if look:
                with region("look"):
                    look.gradients()
            with region("update"):
                if config.grad_clip is not None:
                    torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
                arithmetic.update(optimizer)
            if look:
                with region("look"):
                    look.updated()
            window.add(loss.detach(), logits.detach(), labels)
            course.step = step

            scalars: dict[str, float | None] = {}
            error = None
            if logs or evaluates or window.unchecked == MOST_UNCHECKED:
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
                if arithmetic.scaler is not None:
                    scalars["amp/loss_scale"] = float(scale)
                # Else it may be the loss's scale that was too much: this update was left out, and the scale shrinks.
                if float(scale) <= 1:
                    error = error or _non_finite_gradient(step, gradients)
            with region("look"):
                found = look.findings() if look else Findings()
            if step == 1:  # its look was at the weights before any update
                report(0, course.points[0].seconds, start, found)
                found = Findings()
            conclude(Entry(scalars, found), error)
            if checkpoint_due(step) and step < total:
                with clock.paused():
                    save()
    except StoppedError:
        return Outcome("interrupted")
    except AnomalyError as anomaly:
        course.error = f"in step {course.step + 1}, {anomaly}"
        report(course.step + 1, clock.seconds(), convergence(course.points), Findings())
    return Outcome("completed") if course.error is None else Outcome("diverged", course.error)


def _cadence(every: Cadence) -> Callable[[int], bool]:
    """Whether it is time again, asked after each step."""
    last = time.monotonic()

    def due(step: int) -> bool:
        nonlocal last
        if every.steps is not None:
            return step % every.steps == 0
        if every.seconds is None or time.monotonic() - last < every.seconds:
            return False
        last = time.monotonic()
        return True

    return due


def _validation(parts: Parts, config: Config, interrupted: Callable[[], bool]) -> dict[str, float | None]:
    loss, accuracy = evaluate(parts.model, parts.data.val, interrupted)
    scalars: dict[str, float | None] = {"val/loss": loss, "val/accuracy": accuracy}
    if NORMS[config.norm.name].uses_batch:
        loss, accuracy = evaluate_with_batch_statistics(parts.model, parts.data.val, config.batch_size, interrupted)
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


MOST_UNCHECKED = 100
"""Steps whose losses and logits are left on the device at most: this bounds their memory, and how late a divergence is seen."""
