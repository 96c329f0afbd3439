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
    network = f"{DEPTH} layers of {WIDTH} units, batch {BATCH}"
    title = f"Growth of the squared gradient norm per layer at initialization, {network}"
    heads = ("network", "all layers", "half near the input", "half near the loss", "theory for wide networks")
    by_network = [(name, *measured, theory) for _, name, measured, theory in rows]
    return ExactResult(numbers, (Table(title, heads, by_network),))


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
    outputs = [first(randn(batch, *first.plan.inputs))]
    for layer in hidden:
        layer.get_parameter("weight.weight").data *= scale
        outputs.append(layer(outputs[-1]) + outputs[-1] if skips else layer(outputs[-1]))
    gradients = grad((outputs[-1] * torch.randn_like(outputs[-1])).sum(), outputs)
    logs = [float(gradient.square().sum().log()) for gradient in gradients][MARGIN:-MARGIN]
    parts = logs, logs[: len(logs) // 2 + 1], logs[len(logs) // 2 :]
    everywhere, near_input, near_loss = (math.exp((part[0] - part[-1]) / (len(part) - 1)) for part in parts)
    return everywhere, near_input, near_loss


ENTRY = ExactClaim("gradient-growth", compute)
