"""Gradient norms of each layer's parameters and outputs."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn

from normexp.probes.base import Measurements, Probe, Recorder, chunks, layer_weights
from normexp.records import GRAD_NORM, TOTAL_GRAD_NORM


class GradientNorms:
    """grad_norm/LAYER: Euclidean norm of the gradient of all parameters of a layer (weight, bias, gamma, beta). grad_norm/total:
    of all parameters of the network, so that total^2 is the sum of the layers' squares.

    Not a probe: these are logged with the loss. Computed in two steps, so that a single transfer fetches them with the loss:
    `on_device` right after the backward pass, `by_layer` from the fetched numbers.
    """

    def __init__(self, layers: Mapping[str, nn.Module], others: Iterable[nn.Parameter] = ()) -> None:
        """others: parameters that may lie outside of the layers. A parameter that layers share counts once in the total."""
        by_layer = {name: [p for p in layer.parameters() if p.requires_grad] for name, layer in layers.items()}
        own = (p for parameters in by_layer.values() for p in parameters)
        self._parameters = list(dict.fromkeys([*own, *(p for p in others if p.requires_grad)]))
        indices = {p: i for i, p in enumerate(self._parameters)}
        self._indices = {name: [indices[p] for p in parameters] for name, parameters in by_layer.items() if parameters}

    def on_device(self) -> Tensor:
        """Norm of each parameter's gradient, (P,) float64."""
        gradients = [p.new_zeros(1) if p.grad is None else _values(p.grad) for p in self._parameters]
        # In float64: float32 squares underflow for gradients below 1e-19, which deep networks without a norm have.
        return torch.stack(torch._foreach_norm(gradients, 2, dtype=torch.float64))

    def by_layer(self, norms: Sequence[float]) -> dict[str, float]:
        layers = {f"{GRAD_NORM}/{name}": math.hypot(*(norms[i] for i in own)) for name, own in self._indices.items()}
        return {TOTAL_GRAD_NORM: math.hypot(*norms), **layers}


def _values(gradient: Tensor) -> Tensor:
    """The values of a gradient; of an embedding's sparse one, those that are stored."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


class Gradients(Probe):
    """grad_flow/LAYER: Euclidean norm of the gradient of the batch's mean loss with respect to the layer's output, after its
    dropout. grad_weight/LAYER: with respect to its weight. grad_growth/flow, grad_growth/weight: growth of log(norm) per layer
    towards the input, the slope of a least-squares line. Above 0, gradients explode; below 0, they vanish. The line is fitted to
    all layers, in the order in which they are called; a shortcut counts as a layer.
    """

    titles: ClassVar = {
        "grad_flow": "gradient norm of the layer outputs",
        "grad_weight": "gradient norm of the weights",
        "grad_growth": "growth of the gradient norm per layer towards the input (log)",
    }
    meanings: ClassVar = {
        "grad_flow/LAYER": "gradient norm with respect to the layer's output",
        "grad_weight/LAYER": "gradient norm with respect to the layer's weight",
        "grad_growth/flow": "growth of log(grad_flow) per layer towards the input: > 0 exploding, < 0 vanishing",
        "grad_growth/weight": "growth of log(grad_weight) per layer towards the input",
    }

    def before_forward(self, recorder: Recorder) -> None:
        for name, layer in self.network.items():
            if not layer.observed:
                recorder.on_call(layer.layer, partial(_record_flow, recorder, name))

    def after_backward(self, recorder: Recorder) -> None:
        weights = layer_weights(self.network)
        gradients = {name: w.grad for name, w in weights.items() if w.grad is not None}
        if gradients:
            norms = torch._foreach_norm(list(gradients.values()), 2, dtype=torch.float64)
            for name, norm in zip(gradients, norms, strict=True):
                recorder.record(f"_grad_weight/{name}", norm)

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        depths = _depths(recorder.layer_order, recorder.scalars_by_layer("_grad_flow"))
        for kind in ("flow", "weight"):
            norms = recorder.scalars_by_layer(f"_grad_{kind}")
            called = [name for name in recorder.layer_order if name in norms]
            scalars |= {f"grad_{kind}/{name}": norms[name] for name in called if name in self.layers}
            growth = growth_per_layer([norms[name] for name in called], [depths[name] for name in called])
            scalars[f"grad_growth/{kind}"] = growth
        return Measurements(scalars)


def _record_flow(recorder: Recorder, name: str, output: Tensor) -> None:
    """Hook the gradient of the output. That hook is freed with the pass's graph."""
    recorder.record_layer(name)
    tag = f"_grad_flow/{name}"

    def record(gradient: Tensor) -> None:
        # In chunks, since torch copies all values to float64.
        norms = [torch.linalg.vector_norm(chunk, dtype=torch.float64) for chunk in chunks(gradient)]
        norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        norm = norm / recorder.step.loss_scale
        before = recorder.recorded(tag)  # set if the layer was called more than once
        recorder.record(tag, norm if before is None else torch.hypot(before, norm))

    if output.requires_grad:
        output.register_hook(record)


def _depths(called: Sequence[str], flows: Mapping[str, float]) -> dict[str, int]:
    """Number of layers with a gradient of their output before each layer. The parts of a recurrent layer have none, so that they
    are as deep as its output."""
    before = accumulate((name in flows for name in called), initial=0)
    return dict(zip(called, before, strict=False))


def growth_per_layer(norms: Sequence[float], depths: Sequence[int] | None = None) -> float | None:
    """Slope of log(norm) over the layers, from the last to the first. depths: of each; by default 0, 1, ... Returns None if fewer
    than two norms are above 0, or all have the same depth."""
    layers = zip(depths or range(len(norms)), norms, strict=True)
    points = [(-depth, math.log(norm)) for depth, norm in layers if 0 < norm < math.inf]
    if len({depth for depth, _ in points}) < 2:
        return None
    slope, _ = statistics.linear_regression(*zip(*points, strict=True))
    return slope


ENTRY = Gradients
