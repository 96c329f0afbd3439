"""Loss landscape around the weights, after Santurkar et al. 2018, "How Does Batch Normalization Help Optimization?".

Everything is computed with copies of the weights, on the step's batch, and with the step's dropout and noise. Training is not
affected.
"""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.probes.base import Measurements, Probe, Recorder, Step, is_due
from normexp.records import Chart

STEPS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Distances along the gradient in learning rates, over the paper's range [1/2, 4]. The learning rate is the peak of the schedule:
with the step's own, the landscape would look flat when a schedule approaches 0."""

Weights = dict[str, Tensor]


class LossSurface:
    """Loss and gradient of a step's batch, in its micro-batches, as a function of the weights. Create it right before the forward
    pass, which changes buffers: spectral norm's loss depends on them."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.weights: Weights = {name: p.detach().clone() for name, p in step.model.named_parameters()}
        self._buffers = {name: b.clone() for name, b in step.model.named_buffers()}
        self._trained = [name for name, p in step.model.named_parameters() if p.requires_grad]
        self._devices = [step.inputs.device] if step.inputs.is_cuda else []
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]

    def __call__(self, weights: Weights) -> tuple[Tensor, Weights]:
        """Loss, and its gradient with respect to the trained parameters. With amp=fp16, the loss is scaled for the backward
        pass, as in training. The scale is reduced if gradients overflow."""
        scale = self._step.loss_scale
        while True:
            loss, scaled = self._scaled(weights, scale)
            if float(scale) <= 1 or all(bool(g.isfinite().all()) for g in scaled.values()):
                return loss, {name: g / scale for name, g in scaled.items()}
            scale = max(1.0, float(scale) / 16)

    def _scaled(self, weights: Weights, scale: Tensor | float) -> tuple[Tensor, Weights]:
        """The loss, and the gradient of `scale` times the loss."""
        step, leaves = self._step, {name: weights[name].detach().requires_grad_() for name in self._trained}
        buffers = {name: b.clone() for name, b in self._buffers.items()}  # copies, since norms update their own
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            losses, sums = [], list[Tensor]()
            for inputs, labels in step.micro_batches():
                with step.autocast():
                    logits = torch.func.functional_call(step.model, {**weights, **buffers, **leaves}, (inputs,))
                    loss = F.cross_entropy(logits, labels)
                scaled = loss * scale / step.accumulate
                gradients = torch.autograd.grad(
                    scaled, list(leaves.values()), allow_unused=True, materialize_grads=True
                )
                losses.append(loss.detach())
                sums = list(torch._foreach_add(sums, gradients)) if sums else list(gradients)
        return torch.stack(losses).mean(), dict(zip(leaves, sums, strict=True))


class Landscape(Probe):
    """Along the gradient g of the batch's loss L at the weights w before the update, at w - s g for s in [0.5, 4] lr:

    landscape/loss_min, loss_max, loss_range: minimum and maximum of the loss, and their difference (figure 4a).
    landscape/gradient_change, gradient_change_min: maximum and minimum of |g(w - s g) - g| (figure 4b).
    landscape/effective_beta: maximum of |g(w - s g) - g| / |s g|, the effective smoothness (figure 4c).

    For each layer except the first, the internal covariate shift of definition 2.1 compares the gradient of the layer's
    parameters before and after the layers that precede it have received this step's update.
    shift_cosine/LAYER: cosine of the angle between the two gradients. shift_distance/LAYER: their Euclidean distance.
    """

    meanings: ClassVar = {
        "landscape/loss_min": "lowest loss along the gradient direction, at step sizes of 0.5 to 4 times lr",
        "landscape/loss_max": "largest loss along the gradient",
        "landscape/loss_range": "loss_max - loss_min",
        "landscape/gradient_change": "largest change of the gradient along the gradient",
        "landscape/gradient_change_min": "smallest change of the gradient along the gradient",
        "landscape/effective_beta": "effective smoothness: largest change of the gradient per distance",
        "shift_cosine/LAYER": "covariate shift: cosine of the gradients before and after earlier layers are updated",
        "shift_distance/LAYER": "distance between the two gradients of shift_cosine",
    }

    _loss: LossSurface | None = None

    def due(self, step: int, total: int) -> bool:
        return is_due(step, total, self.config.landscape_every) or step in self.config.landscape_steps

    def before_forward(self, recorder: Recorder) -> None:
        for name, layer in self.network.items():
            if not layer.observed:
                recorder.on_call(layer.layer, partial(_record_call, recorder, name))
        self._loss = LossSurface(recorder.step)

    def after_update(self, recorder: Recorder) -> None:
        assert self._loss is not None
        loss, self._loss = self._loss, None  # free the copies until the next snapshot
        _, gradient = loss(loss.weights)
        for tag, value in along_gradient(loss, gradient, recorder.step.lr).items():
            recorder.record(f"_landscape/{tag}" if tag in ("steepest", "gradient_norm") else f"landscape/{tag}", value)
        layers = {name: self.network[name].layer for name in recorder.layer_order}
        for name, parts in covariate_shift(loss, gradient, recorder.step.model, layers).items():
            if name in self.layers:
                for tag, value in parts.items():
                    recorder.record(f"shift_distance/{name}" if tag == "distance" else f"_shift_{tag}/{name}", value)

    def report(self, recorder: Recorder) -> Measurements:
        steepest, norm = (recorder.scalars[f"_landscape/{tag}"] for tag in ("steepest", "gradient_norm"))
        products, norms = (recorder.scalars_by_layer(f"_shift_{tag}") for tag in ("product", "norms"))
        cosines = {f"shift_cosine/{name}": p / norms[name] if norms[name] else None for name, p in products.items()}
        return Measurements({"landscape/effective_beta": steepest / norm if norm else None, **cosines})

    def charts(self) -> list[Chart]:
        lines = {
            "loss along the gradient": ["landscape/loss_min$", "landscape/loss_max$"],
            "change of the gradient": ["landscape/gradient_change"],
            "effective beta": ["landscape/effective_beta"],
            "internal covariate shift: cosine of the two gradients": ["shift_cosine/.*"],
            "internal covariate shift: distance between the two gradients": ["shift_distance/.*"],
        }
        return [Chart("Landscape", title, lines=patterns) for title, patterns in lines.items()]


def _record_call(recorder: Recorder, name: str, _: Tensor) -> None:
    recorder.record_layer(name)


def along_gradient(loss: LossSurface, gradient: Weights, lr: float) -> dict[str, Tensor]:
    """Scalars by the last part of their landscape/ tag. effective_beta is left to the caller: `steepest`, the largest change of
    the gradient per step size, over `gradient_norm`."""
    losses, changes = [], []
    for step in STEPS:
        moved = loss.weights | {n: loss.weights[n] - step * lr * g for n, g in gradient.items()}
        moved_loss, moved_gradient = loss(moved)
        losses.append(moved_loss.double())
        changes.append(distance(moved_gradient, gradient))
    norm = distance(gradient, {name: torch.zeros_like(g) for name, g in gradient.items()})
    along, change = torch.stack(losses), torch.stack(changes)
    steps = torch.tensor(STEPS, dtype=torch.float64, device=along.device) * lr
    return {
        "loss_min": along.amin(),
        "loss_max": along.amax(),
        "loss_range": along.amax() - along.amin(),
        "gradient_change": change.amax(),
        "gradient_change_min": change.amin(),
        "steepest": (change / steps).amax(),
        "gradient_norm": norm,
    }


def covariate_shift(
    loss: LossSurface, gradient: Weights, model: nn.Module, layers: Mapping[str, nn.Module]
) -> dict[str, dict[str, Tensor]]:
    """Distance and dot product of each layer's two gradients, and the product of their norms, by layer. The first layer has no
    entry, since nothing changes before it.

    model: after the update. layers: in the order in which they are called.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    after = {name: p.detach() for name, p in model.named_parameters()}
    mixed, shifts = dict(loss.weights), dict[str, dict[str, Tensor]]()
    for i, (layer, module) in enumerate(layers.items()):
        own = [names[id(p)] for p in module.parameters() if names[id(p)] in gradient]
        if i > 0 and own:
            _, shifted = loss(mixed)
            old, new = (torch.cat([g[name].flatten() for name in own]).double() for g in (gradient, shifted))
            norms = torch.linalg.vector_norm(old) * torch.linalg.vector_norm(new)
            shifts[layer] = {"distance": torch.linalg.vector_norm(new - old), "product": old @ new, "norms": norms}
        mixed |= {name: after[name] for name in own}
    return shifts


def distance(a: Weights, b: Weights) -> Tensor:
    """Euclidean distance over all parameters."""
    changes = torch._foreach_sub(list(a.values()), [b[name] for name in a])
    norms = torch._foreach_norm(changes, 2, dtype=torch.float64)
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


ENTRY = Landscape
