"""Batch norm does not see the scale of the weights in front of it (Ioffe and Szegedy 2015, section 3.3): for a number a,

    BN((a W) u) = BN(W u)    dBN((a W) u)/du = dBN(W u)/du    dBN((a W) u)/d(a W) = 1/a dBN(W u)/dW

This is exact without eps, and holds as long as eps is small beside the variance, which scales as a^2. Nor does it see the scale
of u: a network that begins W, BN has the same losses in training on 255 u as on u, as has any network on standardised inputs.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor

    from normexp.config import Config

SCALES = (1.0, 0.01, 0.1, 10.0, 100.0)
TINY, USUAL = 1e-12, 1e-5
"""eps: next to nothing, with which the law is exact, and the usual one."""
STEPS, LR = 8, 0.1


@seeded
def compute(seed: int) -> Worked:
    from normexp.claims.exact.pieces import config, normalise, randn

    u, weight, target = randn(32, 8), randn(6, 8), randn(32, 6)
    found = {eps: [_at(a, eps, u, weight, target) for a in SCALES] for eps in (TINY, USUAL)}
    configs: dict[str, Any] = {name: config(model="mlp", norm=name) for name in ("bn", "none")}
    bn = replace(configs["bn"], norm=replace(configs["bn"].norm, eps=TINY))
    images, labels = randn(64, 1, 8, 8).abs(), randn(64, 10).argmax(1)
    # The mean and variance of all of the data, as `data.inputs=standardize` takes them.
    standard, large = (normalise(each, (0, 1, 2, 3), eps=0) for each in (images, 255 * images))
    trained = {
        "bn": _losses(bn, (images, 255 * images), labels),
        "none, standardised inputs": _losses(configs["none"], (standard, large), labels),
        "none": _losses(configs["none"], (images, 255 * images), labels),
    }
    change = {name: max(abs(a - b) for a, b in zip(*pair, strict=True)) for name, pair in trained.items()}

    def spread(column: int, eps: float) -> float:
        """Between the scales, relative to the value at a = 1."""
        values = [row[column] for row in found[eps]]
        return (max(values) - min(values)) / values[0]

    return Worked(
        numbers={
            "output_change": max(row[0] for row in found[TINY]),
            "gradient_to_u_change": max(row[1] for row in found[TINY]),
            "gradient_to_weight_spread": spread(3, TINY),
            "gradient_to_weight_spread_usual_eps": spread(3, USUAL),
            "loss_change_bn": change["bn"],
            "loss_change_standardised": change["none, standardised inputs"],
        },
        tables=(
            *(
                Table(
                    f"One layer with its weights times a, eps = {eps:g}",
                    ("a", "largest change of y", "of dl/du, relative", "|dl/d(aW)|", "a |dl/d(aW)|"),
                    tuple((a, *row) for a, row in sorted(zip(SCALES, rows, strict=True))),
                )
                for eps, rows in found.items()
            ),
            Table(
                f"Losses of {STEPS} training steps on inputs u and on 255 u",
                ("norm", "first, u", "first, 255 u", "last, u", "last, 255 u", "largest change"),
                tuple((name, a[0], b[0], a[-1], b[-1], change[name]) for name, (a, b) in trained.items()),
            ),
        ),
    )


def _at(a: float, eps: float, u: Tensor, weight: Tensor, target: Tensor) -> tuple[float, float, float, float]:
    """Change of the output, change of the gradient to u, norm of the gradient to the weights, and a times it."""
    from normexp.claims.exact.pieces import gradient, largest, norm

    def layer(scale: float) -> tuple[Tensor, Tensor, Tensor]:
        inputs, scaled = u.clone().requires_grad_(), (scale * weight).requires_grad_()
        y = norm("bn", (len(weight),), eps=eps)(inputs @ scaled.T)
        return (y.detach(), *gradient((y - target).square().sum(), inputs, scaled))

    y, to_u, to_weight = layer(a)
    y_one, to_u_one, _ = layer(1.0)
    size = float(to_weight.norm())
    return largest(y - y_one), float((to_u - to_u_one).norm() / to_u_one.norm()), size, a * size


def _losses(config: Config, pair: tuple[Tensor, Tensor], labels: Tensor) -> list[list[float]]:
    """Of STEPS steps of gradient descent on the config's network, on either of two inputs, from the same weights."""
    import torch
    from torch.nn.functional import cross_entropy

    from normexp.claims.exact.pieces import gradient, network

    start, _ = network(config)
    losses: list[list[float]] = []
    for inputs in pair:
        model = copy.deepcopy(start)
        losses.append([])
        for _ in range(STEPS):
            loss = cross_entropy(model(inputs), labels)
            losses[-1].append(float(loss.detach()))
            grads = gradient(loss, *model.parameters())
            with torch.no_grad():
                for parameter, grad in zip(model.parameters(), grads, strict=True):
                    parameter.sub_(LR * grad)
    return losses


ENTRY = Exact(name="scale-law", compute=compute)
