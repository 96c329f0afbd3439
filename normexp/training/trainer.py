"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function
from torch.nn import functional as F
from torch.profiler import profile

from normexp.config import Config
from normexp.models.layer import named_layers
from normexp.norms import NORMS
from normexp.norms.running import StepAware
from normexp.optim.schedules import lr_factor
from normexp.probes.base import Measurements, Step
from normexp.probes.gradients import GradientNorms
from normexp.probes.runner import Snapshot
from normexp.records import TOTAL_GRAD_NORM, Record
from normexp.rundir import State
from normexp.training.build import Parts
from normexp.training.debug import AnomalyError
from normexp.training.errors import Cause, non_finite_evaluation, non_finite_loss
from normexp.training.evaluate import (
    StoppedError,
    evaluate,
    evaluate_with_batch_statistics,
    evaluation_statistics,
    evaluation_steps,
)
from normexp.training.state import PendingRecord, Point, TrainState, convergence

MAX_UNCHECKED_STEPS = 100  # steps whose results stay on the device: bounds memory, and the delay to detect a divergence

Scalars = dict[str, float | None]


@dataclass(frozen=True)
class Outcome:
    """The end of training. cause: classifies a failure, if known."""

    state: State
    error: str | None = None
    cause: Cause | None = None


class Trainer:
    """Trains the model of `parts`, starting from `state`.

    Losses and logits stay on the device until a step that logs, which fetches them in one transfer; no other step waits for
    the device.

    log: called with each record. interrupted: polled before each step and each batch of an evaluation. save: called when a
    checkpoint is due.
    """

    def __init__(
        self,
        parts: Parts,
        config: Config,
        *,
        log: Callable[[Record], None],
        state: TrainState | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        save: Callable[[], None] | None = None,
        profiler: profile | None = None,
        show_evaluating: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.parts, self.config, self.log, self.interrupted = parts, config, log, interrupted
        self.state = state or TrainState(parts.sizes.total_steps, parts.device)
        self.save, self.profiler, self.first_step = save, profiler, self.state.step + 1
        self.show_evaluating, unnamed = show_evaluating, nullcontext()
        self.region: Callable[[str], AbstractContextManager[Any]] = record_function if profiler else lambda _: unnamed
        self.model, self.optimizer, self.precision = parts.model, parts.optimizer, parts.precision
        self.parameters = list(parts.model.parameters())
        self.step_aware = [module for module in parts.model.modules() if isinstance(module, StepAware)]
        self.replays_graph = parts.forward is not parts.model and parts.device.type == "cuda"
        self.gradient_norms = GradientNorms(named_layers(parts.model))
        self.evaluations = evaluation_steps(config.eval_every, parts.sizes)
        self.checkpoint_every, self.last_checkpoint = config.checkpoints, time.monotonic()
        self.initial_scalars: Scalars = {}

    def train(self) -> Outcome:
        """Train to the last step, a divergence or an interruption; test after the last step."""
        state = self.state
        self.model.train()
        state.clock.start()
        try:
            if state.step == 0:
                self.initial_scalars, point = self.validate()
                state.points = [point]
            if state.pending is not None:
                self.finish_step(state.pending)
            while state.step < state.total_steps and state.error is None:
                if self.interrupted():
                    return Outcome("interrupted")
                self.train_step()
                self.save_if_due()
        except StoppedError:
            return Outcome("interrupted")
        except AnomalyError as anomaly:
            state.error = f"in step {state.step + 1}, {anomaly}"
            self.log_record(state.step + 1, convergence(state.points), Measurements())
        return Outcome("completed") if state.error is None else Outcome("diverged", state.error)

    def train_step(self) -> None:
        state, config, precision, region = self.state, self.config, self.precision, self.region
        step = state.step + 1
        if self.profiler and step > self.first_step:
            self.profiler.step()
        logs = step == 1 or step % config.log_every == 0 or step == state.total_steps
        lr = config.peak_lr * lr_factor(config.schedule, step - 1, state.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        for module in self.step_aware:
            module.start_step(step, state.total_steps)
        with region("batch"):
            inputs, labels = self.parts.data.train.batch(next(self.parts.order), self.parts.augment)
        loss_scale, autocast = precision.loss_scale(), precision.autocast
        micro = config.accumulate
        context = Step(step, state.total_steps, self.model, inputs, labels, config.peak_lr, autocast, loss_scale, micro)
        snapshot = self.parts.probes.snapshot(context)
        loss, logits = self.forward_backward(inputs, labels, snapshot)
        grad_norms = self.gradient_norms.on_device() if logs else None  # before clipping
        self.update(snapshot)
        state.window.add(loss, logits, labels)
        state.step = step

        scalars: Scalars = {}
        error = None
        if logs or self.evaluates(step) or state.window.unchecked == MAX_UNCHECKED_STEPS:
            scalars, error = self.collect_scalars(grad_norms, lr=lr, loss_scale=loss_scale)
        with region("probes"):
            measurements = snapshot.measurements() if snapshot else Measurements()
        if step == 1:  # the probes saw the weights before the first update
            self.log_record(0, self.initial_scalars, measurements, seconds=state.points[0].seconds)
            measurements = Measurements()
        self.finish_step(PendingRecord(scalars, measurements), error)

    def forward_backward(self, inputs: Tensor, labels: Tensor, snapshot: Snapshot | None) -> tuple[Tensor, Tensor]:
        """Compute the gradients of a batch; returns the mean loss and the logits (B, classes), both on the device.

        The gradient is the mean of the micro-batches' gradients. Each is added before the next forward pass, so memory holds the
        activations of one micro-batch.
        """
        for parameter in self.parameters:  # optimizer.zero_grad() at a tenth of its cost
            parameter.grad = None  # before the forward pass: a CUDA graph overwrites the last step's gradients
        count, size = self.config.accumulate, self.config.micro_batch_size
        losses, logits = [], []
        with snapshot or nullcontext():
            for number, (part, targets) in enumerate(zip(inputs.split(size), labels.split(size), strict=True)):
                if snapshot:
                    snapshot.start_micro_batch(number)
                with self.region("forward"), self.precision.autocast():
                    outputs = self.model(part) if snapshot else self.parts.forward(part)
                    loss = F.cross_entropy(outputs, targets)  # autocast computes it in float32
                with self.region("backward"):
                    self.precision.backward(loss if count == 1 else loss / count)
                    if number == count - 1:
                        self.precision.unscale(self.optimizer)
                    elif number == 0 and self.replays_graph:
                        self._copy_gradients()
                losses.append(loss.detach())
                logits.append(outputs.detach())
        return (losses[0], logits[0]) if count == 1 else (torch.stack(losses).mean(), torch.cat(logits))

    def _copy_gradients(self) -> None:
        """Move the gradients out of the memory of a CUDA graph, whose next replay would overwrite what it should add to."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad = parameter.grad.clone()

    def update(self, snapshot: Snapshot | None) -> None:
        """Clip the gradients and update the weights; the probes see both before and after."""
        if snapshot:
            with self.region("probes"):
                snapshot.after_backward()
        with self.region("update"):
            if self.config.grad_clip is not None:
                torch.nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip)
            self.precision.update(self.optimizer)
        if snapshot:
            with self.region("probes"):
                snapshot.after_update()

    def collect_scalars(
        self, grad_norms: Tensor | None, *, lr: float, loss_scale: Tensor | float
    ) -> tuple[Scalars, str | None]:
        """Fetch the losses of the last steps from the device and check that they are finite. Returns the step's scalars, empty
        if it neither logs nor diverged, and the reason of a divergence."""
        state, window = self.state, self.state.window
        fetched = window.fetch(grad_norms)
        error = non_finite_loss(state.step, window.losses)
        if grad_norms is None and error is None:
            return {}, None
        gradients = {} if grad_norms is None else self.gradient_norms.by_layer(fetched)
        samples = len(window.losses) * self.config.batch_size
        scalars: Scalars = {
            "train/loss": sum(window.losses) / len(window.losses),
            "train/accuracy": window.correct / samples,
            "lr": lr,
            **gradients,
            "speed/samples_per_second": samples / state.clock.lap(),
        }
        window.restart()
        if self.precision.scaler.is_enabled():
            scalars["amp/loss_scale"] = float(loss_scale)
        norm = gradients.get(TOTAL_GRAD_NORM, 0.0)
        # With a larger scale, fp16 gradients may have overflowed: GradScaler then skips the update and shrinks the scale.
        if float(loss_scale) <= 1 and not math.isfinite(norm):
            error = error or f"the gradient norm became {norm} in step {state.step}"
        return scalars, error

    def finish_step(self, pending: PendingRecord, error: str | None = None) -> None:
        """Evaluate if due, and log the step.

        If the evaluation is interrupted, `state.pending` stays set, and the resumed run finishes the step.
        """
        state, scalars = self.state, dict(pending.scalars)
        state.pending = pending
        last = state.step == state.total_steps
        if error is None and self.evaluates(state.step):
            validation, point = self.validate(last=last)
            scalars |= validation
            if last:
                scalars |= self.test()
            state.points.append(point)
            # In the first steps, running statistics may be so far off that the loss overflows in evaluation only.
            if last or self.config.eval_every != "auto":
                error = non_finite_evaluation(state.step, scalars)
        if error is not None or last:
            scalars |= convergence(state.points)
        if scalars or pending.measurements.scalars:
            self.log_record(state.step, scalars, pending.measurements)
        state.pending, state.error = None, error

    def evaluates(self, step: int) -> bool:
        return step in self.evaluations or step == self.state.total_steps

    def validate(self, *, last: bool = False) -> tuple[Scalars, Point]:
        """Evaluate on the validation samples; models with bn also with batch statistics. Raises StoppedError.

        last: use the whole split. The point's accuracy is always on the same samples, to compare it with earlier ones.
        """
        model, sample = self.model, self.parts.val_sample
        split = self.parts.data.val if last else sample
        with self.evaluating(last=last) as ratios:
            loss, accuracy = evaluate(model, split, self.interrupted)
            scalars: Scalars = {"val/loss": loss, "val/accuracy": accuracy}
            if self.uses_batch_statistics(last=last):
                means = evaluate_with_batch_statistics(model, split, self.config.micro_batch_size, self.interrupted)
                scalars["val/loss_batch_statistics"], scalars["val/accuracy_batch_statistics"] = means
            if split is not sample:
                _, accuracy = evaluate(model, sample, self.interrupted)
        return {**scalars, **ratios}, Point(self.state.step, self.state.clock.seconds(), accuracy)

    def uses_batch_statistics(self, *, last: bool) -> bool:
        """Whether to evaluate with batch statistics, too. With eval_every=auto, only every fourth evaluation, to save time."""
        if not NORMS[self.config.norm.name].uses_batch:
            return False
        step = self.state.step
        return last or step == 0 or self.config.eval_every != "auto" or self.evaluations.index(step) % 4 == 3

    def test(self) -> Scalars:
        with self.evaluating(last=True):
            loss, accuracy = evaluate(self.model, self.parts.data.test, self.interrupted)
        return {"test/loss": loss, "test/accuracy": accuracy}

    @contextmanager
    def evaluating(self, *, last: bool) -> Iterator[dict[str, float]]:
        """Context for an evaluation; yields the ratios of `evaluation_statistics`."""
        config, max_samples = self.config, None if last else self.config.eval_samples
        with (
            self.state.clock.paused(),
            self.show_evaluating(),
            self.precision.autocast(),
            self.region("evaluate"),
            evaluation_statistics(
                self.model, config, self.parts.data.train, self.interrupted, max_samples=max_samples
            ) as ratios,
        ):
            yield ratios

    def log_record(self, step: int, scalars: Scalars, measured: Measurements, *, seconds: float | None = None) -> None:
        """seconds: duration of training, by default so far."""
        # The accuracy of the initial weights must not become the result of a run that stops before the next evaluation.
        self.state.scalars.update({**(scalars if step > 0 else {}), **measured.scalars})
        scalars = {**scalars, **measured.scalars}
        seconds = self.state.clock.seconds() if seconds is None else seconds
        with self.region("log"):
            self.log(Record(step, step / self.parts.sizes.steps_per_epoch, seconds, scalars, measured.histograms))

    def save_if_due(self) -> None:
        """Save a checkpoint if `checkpoint_every` says so. After the last step, the caller of `train` saves."""
        every, step = self.checkpoint_every, self.state.step
        if every.steps is not None:
            due = step % every.steps == 0
        else:
            due = every.seconds is not None and time.monotonic() - self.last_checkpoint >= every.seconds
        if due and self.save and step < self.state.total_steps:
            self.last_checkpoint = time.monotonic()
            with self.state.clock.paused():
                self.save()
