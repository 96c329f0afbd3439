"""The size of gradients: of each layer's parameters, and of what flows back through the network."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor, nn

from normexp.probes.base import Findings, Probe, pieces, weights_of
from normexp.probes.recorder import Look


class GradientNorms:
    """grad_norm/<layer>: the Euclidean norm of the gradient of all parameters of a layer (weight, bias, gamma, beta);
    grad_norm/total: of all parameters of the network, so that total^2 is the sum of the layers' squares.

    Not a probe: these are logged with the loss. Two steps, so that the device is asked once: `on_device` right after the
    backward pass, `by_layer` for what was fetched.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        own = {name: [p for p in layer.parameters() if p.requires_grad] for name, layer in layers.items()}
        self._sizes = {name: len(parameters) for name, parameters in own.items() if parameters}
        self._parameters = [p for parameters in own.values() for p in parameters]

    def on_device(self) -> Tensor:
        """The norm of each parameter's gradient, (P,) float64."""
        gradients = [p.grad if p.grad is not None else p.new_zeros(1) for p in self._parameters]
        # In float64: squares of float32 vanish below 1e-19, where a deep net without a norm has its gradients.
        return torch.stack(torch._foreach_norm(gradients, 2, dtype=torch.float64))

    def by_layer(self, norms: Sequence[float]) -> dict[str, float]:
        values = iter(norms)
        layers = {f"grad_norm/{name}": math.hypot(*islice(values, size)) for name, size in self._sizes.items()}
        return {"grad_norm/total": math.hypot(*norms), **layers}


class Gradients(Probe):
    """grad_flow/LAYER: the Euclidean norm of the gradient of the batch's mean loss with respect to the layer's output, after
    its dropout. grad_weight/LAYER: with respect to its weight. grad_growth/flow, grad_growth/weight: by how much the logarithm
    of these grows a layer on the way back, as the slope of a least-squares line: above 0 gradients explode, below 0 they
    vanish. The line is through all layers, in the order in which they are used; a shortcut counts as one of them.
    """

    titles: ClassVar = {
        "grad_flow": "gradient that flows back through each layer",
        "grad_weight": "gradient of the weights",
        "grad_growth": "growth of the gradient a layer on the way back (log)",
    }

    def before(self, look: Look) -> None:
        for name, layer in self.network.items():
            look.hook(layer.layer.register_forward_hook(partial(_watch_gradient, look, name)))

    def gradients(self, look: Look) -> None:
        weights = {f"_grad_weight/{name}": weight.grad for name, weight in weights_of(self.network).items()}
        there = {tag: gradient for tag, gradient in weights.items() if gradient is not None}
        if there:
            for tag, norm in zip(there, torch._foreach_norm(list(there.values()), 2, dtype=torch.float64), strict=True):
                look.keep(tag, norm)

    def report(self, look: Look) -> Findings:
        found: dict[str, float | None] = {}
        for kind in ("flow", "weight"):
            norms = {name: look.numbers.get(f"_grad_{kind}/{name}") for name in look.order}
            found |= {f"grad_{kind}/{n}": norm for n, norm in norms.items() if n in self.layers and norm is not None}
            found[f"grad_growth/{kind}"] = growth_a_layer(list(norms.values()))
        return Findings(found)


def _watch_gradient(look: Look, name: str, _: nn.Module, inputs: object, output: object) -> None:
    """A forward hook. The hook on the output's gradient goes with the graph of this pass."""
    look.used(name)
    tag = f"_grad_flow/{name}"

    def keep(gradient: Tensor) -> None:
        norm = norm_of(gradient) / look.step.loss_scale
        before = look.kept(tag)  # of a layer that is used more than once
        look.keep(tag, norm if before is None else torch.hypot(before, norm))

    if isinstance(output, Tensor) and output.requires_grad:
        output.register_hook(keep)


def norm_of(values: Tensor) -> Tensor:
    """Euclidean, in float64, without a copy of all values."""
    norms = [torch.linalg.vector_norm(piece, dtype=torch.float64) for piece in pieces(values)]
    total: Tensor = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    return total


def growth_a_layer(norms: Sequence[float | None]) -> float | None:
    """Slope of log(norm) over the layers, counted from the last to the first, where None stands for a layer without one.

    None without two norms above 0.
    """
    points = [(-depth, math.log(norm)) for depth, norm in enumerate(norms) if norm is not None and 0 < norm < math.inf]
    if len(points) < 2:
        return None
    slope, _ = statistics.linear_regression(*zip(*points, strict=True))
    return slope


ENTRY = Gradients
