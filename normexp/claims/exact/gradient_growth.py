"""Batch norm makes gradients explode at initialization in deep networks without skips.

Yang et al. 2019, "A mean field theory of batch normalization": in wide networks, whatever the scale of the weights, each layer
that the gradient passes on its way back multiplies the squared norm of the gradient of a layer's output by

    pi / (pi - 1) = 1.467 with relu, for large batches        (B - 2) / (B - 3) without an activation

Without a norm the factor is that of the weights' variance: 1 with He initialization, s^2 with weights scaled by s.
"""

import math
from dataclasses import replace

import torch
from torch.autograd import grad

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_network, default_config, randn

RELU = math.pi / (math.pi - 1)
DEPTH, WIDTH, BATCH = 24, 256, 128
MARGIN = 2
"""Layers left out at either end, whose activations are not yet distributed like those in between."""


def compute() -> ExactResult:
    rows = (
        ("growth", "relu, bn", growth("bn"), RELU),
        ("growth_scaled", "relu, bn, weights x 2", growth("bn", scale=2), RELU),
        ("growth_linear", "no activation, bn, batch 8", growth("bn", batch=8, linear=True), (8 - 2) / (8 - 3)),
        ("growth_skips_far_from_input", "relu, bn, skips", growth("bn", skips=True), "approaches 1"),
        ("growth_ln", "relu, ln", growth("ln"), 1.0),
        ("growth_none", "relu, none", growth("none"), 1.0),
        ("growth_none_scaled", "relu, none, weights x 2", growth("none", scale=2), 4.0),
    )
    numbers = {key: measured[2 if key.endswith("far_from_input") else 0] for key, _, measured, _ in rows}
    table = Table(
        f"Growth of the squared gradient norm per layer at initialization, {DEPTH} layers of {WIDTH} units, batch {BATCH}",
        ("network", "all layers", "half near the input", "half near the loss", "theory for wide networks"),
        tuple((name, *measured, theory) for _, name, measured, theory in rows),
    )
    return ExactResult(numbers, (table,))


def growth(
    norm: str, *, batch: int = BATCH, linear: bool = False, skips: bool = False, scale: float = 1
) -> tuple[float, float, float]:
    """Geometric mean of the factor per layer: over all layers, the half near the input and the half near the loss.

    Measured on the hidden layers of normexp's MLP. linear: without activations. skips: h + layer(h) in place of layer(h).
    scale: of the weights, relative to He initialization.
    """
    config = default_config(model="mlp", norm=norm, init="kaiming")
    _, layers = build_network(replace(config, model=replace(config.model, depth=DEPTH, width=WIDTH)))
    first, *hidden, _ = layers.values()
    if linear:
        for layer in (first, *hidden):
            layer.activation = torch.nn.Identity()
    h = first(randn(batch, *first.plan.inputs))
    outputs = [h]
    for layer in hidden:
        with torch.no_grad():
            layer.get_parameter("weight.weight").mul_(scale)
        h = layer(h) + h if skips else layer(h)
        outputs.append(h)
    gradients = grad((h * torch.randn_like(h)).sum(), outputs)
    logs = [float(gradient.square().sum().log()) for gradient in gradients][MARGIN:-MARGIN]
    middle = len(logs) // 2

    def factor(values: list[float]) -> float:
        return math.exp((values[0] - values[-1]) / (len(values) - 1))

    return factor(logs), factor(logs[: middle + 1]), factor(logs[middle:])


ENTRY = ExactClaim("gradient-growth", compute)
