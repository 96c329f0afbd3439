"""Batch norm makes gradients explode in deep networks without skips, at initialisation (Yang et al. 2019, "A mean field theory of
batch normalization"): from one layer to the one below, the squared norm of the gradient to the layer's output is multiplied by

    pi / (pi - 1) = 1.467 with relu, for large batches        (B - 2) / (B - 3) without an activation

in wide networks, whatever the scale of the weights. Without a norm the factor is that of the weights' variance: 1 with He's
initialisation, s^2 with weights s times as large.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from normexp.claims.exact.base import Exact, Table, Worked, seeded

RELU = math.pi / (math.pi - 1)
DEPTH, WIDTH, BATCH, SMALL = 24, 256, 128, 8
NEAR = 2
"""Layers at either end that are left out: what they see is not yet like it is in between."""


@seeded
def compute(seed: int) -> Worked:
    rows = (
        ("relu, bn", growth("bn"), RELU),
        ("relu, bn, weights x 2", growth("bn", scale=2), RELU),
        ("no activation, bn, batch 8", growth("bn", batch=SMALL, linear=True), (SMALL - 2) / (SMALL - 3)),
        ("relu, bn, skips", growth("bn", skips=True), "falls to 1"),
        ("relu, ln", growth("ln"), 1.0),
        ("relu, none", growth("none"), 1.0),
        ("relu, none, weights x 2", growth("none", scale=2), 4.0),
    )
    measured = {name: (whole, low, high) for name, (whole, low, high), _ in rows}
    return Worked(
        numbers={
            "growth": measured["relu, bn"][0],
            "growth_scaled": measured["relu, bn, weights x 2"][0],
            "growth_linear": measured["no activation, bn, batch 8"][0],
            "growth_skips_far_from_input": measured["relu, bn, skips"][2],
            "growth_ln": measured["relu, ln"][0],
            "growth_none": measured["relu, none"][0],
            "growth_none_scaled": measured["relu, none, weights x 2"][0],
        },
        tables=(
            Table(
                f"Growth of the squared gradient norm a layer, {DEPTH} layers of {WIDTH} units, batch {BATCH}, at initialisation",
                ("network", "all layers", "half near the input", "half near the loss", "wide networks, by theory"),
                tuple((name, *found, theory) for name, found, theory in rows),
            ),
        ),
    )


def growth(
    norm: str, *, batch: int = BATCH, linear: bool = False, skips: bool = False, scale: float = 1
) -> tuple[float, float, float]:
    """The factor from a layer to the one below: over all layers, the half near the input and the half near the loss; a geometric
    mean.

    Measured on the hidden layers of normexp's own MLP. linear: without their activation. skips: h + layer(h) instead of
    layer(h). scale: of the weights, in relation to He's.
    """
    import torch

    from normexp.claims.exact.pieces import config, gradient, network, randn

    chosen: Any = config(model="mlp", norm=norm, init="kaiming")
    _, layers = network(replace(chosen, model=replace(chosen.model, depth=DEPTH, width=WIDTH)))
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
    direction = torch.randn_like(h)
    logs = [float(each.square().sum().log()) for each in gradient((h * direction).sum(), *outputs)]
    used = logs[NEAR:-NEAR]
    middle = len(used) // 2

    def factor(values: list[float]) -> float:
        return math.exp((values[0] - values[-1]) / (len(values) - 1))

    return factor(used), factor(used[: middle + 1]), factor(used[middle:])


ENTRY = Exact(name="gradient-growth", compute=compute)
