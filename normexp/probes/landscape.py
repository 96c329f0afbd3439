"""The loss around the weights, as Santurkar et al. 2018, "How Does Batch Normalization Help Optimization?", measure it.

All of it is done with copies of the weights, with the batch of the step and the same dropout and noise each time: training
goes on as if nobody had looked.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.config import ProbeConfig
from normexp.probes.base import Findings, Probe, Watched, due
from normexp.probes.recorder import Look, Step
from normexp.records import Chart

STEPS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""How far to go along the gradient, in learning rates: the paper's range, [1/2, 4]. The learning rate is the config's, that of
the schedule at its highest: with the step's own, the landscape would look flat wherever the schedule ends near 0."""

Weights = dict[str, Tensor]


class Landscape(Probe):
    """Along the gradient g of the batch's loss L at the weights w before the update, at w - s g for s in [0.5, 4] lr:

    landscape/loss_min, loss_max, loss_range: the least and the greatest loss on the way, and their difference (figure 4a).
    landscape/gradient_change: the greatest |g(w - s g) - g|, and gradient_change_min the least (figure 4b).
    landscape/effective_beta: the greatest |g(w - s g) - g| / |s g|, the effective smoothness (figure 4c).

    For each layer but the first, the internal covariate shift of definition 2.1: the gradient of the layer's parameters
    before, and after all layers that are used before it have been updated as the optimizer did in this step.
    shift_cosine/LAYER: cosine of the angle between the two. shift_distance/LAYER: their Euclidean distance.
    """

    def __init__(self, network: Mapping[str, Watched], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._here: Surroundings | None = None

    def due(self, step: int, total: int) -> bool:
        return due(step, total, self.config.landscape_every) or step in self.config.landscape_steps

    def before(self, look: Look) -> None:
        for name, layer in self.network.items():
            look.hook(layer.layer.register_forward_hook(lambda *_, name=name: look.used(name)))
        self._here = Surroundings(look.step)

    def updated(self, look: Look) -> None:
        assert self._here is not None
        here, self._here = self._here, None  # no memory between looks
        _, gradient = here(here.weights)
        for tag, value in along_gradient(here, gradient, look.step.lr).items():
            look.keep(f"_landscape/{tag}" if tag in ("steepest", "gradient_norm") else f"landscape/{tag}", value)
        layers = {name: self.network[name].layer for name in look.order}
        for name, parts in covariate_shift(here, gradient, look.step.model, layers).items():
            if name in self.layers:
                for tag, value in parts.items():
                    look.keep(f"shift_distance/{name}" if tag == "distance" else f"_shift_{tag}/{name}", value)

    def report(self, look: Look) -> Findings:
        numbers = look.numbers
        found = {
            "landscape/effective_beta": _ratio(numbers["_landscape/steepest"], numbers["_landscape/gradient_norm"])
        }
        for tag in (tag for tag in numbers if tag.startswith("_shift_product/")):
            name = tag.partition("/")[2]
            found[f"shift_cosine/{name}"] = _ratio(numbers[tag], numbers[f"_shift_norms/{name}"])
        return Findings(found)

    def charts(self) -> list[Chart]:
        tags = ("loss_min", "loss_max")
        return [
            Chart("Landscape", "loss along the gradient", lines=[f"landscape/{tag}$" for tag in tags]),
            Chart("Landscape", "change of the gradient", lines=["landscape/gradient_change"]),
            Chart("Landscape", "effective beta", lines=["landscape/effective_beta"]),
            Chart("Landscape", "covariate shift: cosine of a layer's gradients", lines=["shift_cosine/.*"]),
            Chart("Landscape", "covariate shift: distance of a layer's gradients", lines=["shift_distance/.*"]),
        ]


class Surroundings:
    """The loss of a step's batch, and its gradient, as a function of the weights; made right before the forward pass."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.weights: Weights = {name: p.detach().clone() for name, p in step.model.named_parameters()}
        self._trained = [name for name, p in step.model.named_parameters() if p.requires_grad]
        self._devices = [step.inputs.device] if step.inputs.is_cuda else []
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]

    def __call__(self, weights: Weights) -> tuple[Tensor, Weights]:
        """Loss, and its gradient with respect to the trained parameters; each time with the step's own dropout and noise.

        With amp=fp16 the loss is scaled on the way back, as in training: otherwise small gradients would underflow to 0. If the
        step's scale is too large for these weights, so that gradients overflow, a smaller one is used.
        """
        scale = self._step.loss_scale
        while True:
            loss, scaled = self._scaled(weights, scale)
            if float(scale) <= 1 or all(bool(g.isfinite().all()) for g in scaled.values()):
                return loss, {name: g / scale for name, g in scaled.items()}
            scale = max(1.0, float(scale) / 16)

    def _scaled(self, weights: Weights, scale: Tensor | float) -> tuple[Tensor, Weights]:
        """Loss, and the gradient of `scale` times the loss."""
        model, leaves = self._step.model, {name: weights[name].detach().requires_grad_() for name in self._trained}
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}  # batch norm changes its own
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            with self._step.autocast():
                logits = torch.func.functional_call(model, {**weights, **buffers, **leaves}, (self._step.inputs,))
                loss = F.cross_entropy(logits, self._step.labels)
        gradients = torch.autograd.grad(loss * scale, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return loss.detach(), dict(zip(leaves, gradients, strict=True))


def along_gradient(here: Surroundings, gradient: Weights, lr: float) -> dict[str, Tensor]:
    """The tags below landscape/, as tensors without dimensions; and of the effective beta the greatest change of the gradient
    over the step, and the norm of the gradient, which it is still to be divided by."""
    losses, changes = [], []
    for step in STEPS:
        moved = here.weights | {n: here.weights[n] - step * lr * g for n, g in gradient.items()}
        loss, there = here(moved)
        losses.append(loss.double())
        changes.append(distance(there, gradient))
    size = distance(gradient, {name: torch.zeros_like(g) for name, g in gradient.items()})
    loss, change = torch.stack(losses), torch.stack(changes)
    steps = torch.tensor(STEPS, dtype=torch.float64, device=loss.device) * lr
    return {
        "loss_min": loss.amin(),
        "loss_max": loss.amax(),
        "loss_range": loss.amax() - loss.amin(),
        "gradient_change": change.amax(),
        "gradient_change_min": change.amin(),
        "steepest": (change / steps).amax(),
        "gradient_norm": size,
    }


def covariate_shift(
    here: Surroundings, gradient: Weights, model: nn.Module, layers: Mapping[str, nn.Module]
) -> dict[str, dict[str, Tensor]]:
    """Of each layer's two gradients, by its name, their distance, their product and the product of their norms; the first
    layer, in front of which nothing moves, has none.

    model: with its weights after the update. layers: of the model, in the order in which they are used.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    after = {name: p.detach() for name, p in model.named_parameters()}
    mixed, found = dict(here.weights), dict[str, dict[str, Tensor]]()
    for i, (layer, module) in enumerate(layers.items()):
        own = [names[id(p)] for p in module.parameters() if names[id(p)] in gradient]
        if i > 0 and own:
            _, shifted = here(mixed)
            old, new = (torch.cat([g[name].flatten() for name in own]).double() for g in (gradient, shifted))
            norms = torch.linalg.vector_norm(old) * torch.linalg.vector_norm(new)
            found[layer] = {"distance": torch.linalg.vector_norm(new - old), "product": old @ new, "norms": norms}
        mixed |= {name: after[name] for name in own}
    return found


def _ratio(over: float, under: float) -> float | None:
    """None where there is nothing to divide by."""
    return None if under == 0 else over / under


def distance(one: Weights, two: Weights) -> Tensor:
    """Euclidean, of all parameters at once."""
    changes = torch._foreach_sub(list(one.values()), [two[name] for name in one])
    norms = torch._foreach_norm(changes, 2, dtype=torch.float64)
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


ENTRY = Landscape
