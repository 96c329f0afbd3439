"""The norm of the loss's gradient with regard to each layer's parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor, nn


class GradientNorms:
    """grad_norm/<layer>: the Euclidean norm of the gradient of all parameters of a layer (weight, bias, gamma, beta);
    grad_norm/total: of all parameters of the network, so that total^2 is the sum of the layers' squares.

    Two steps, so that the device is asked once: `on_device` right after the backward pass, `by_layer` for what was fetched.
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
