"""Batch norm is invariant to the scale of the preceding weights (Ioffe and Szegedy 2015, section 3.3). For a scalar a,

    BN((a W) u) = BN(W u)    dBN((a W) u)/du = dBN(W u)/du    dBN((a W) u)/d(a W) = 1/a dBN(W u)/dW

This is exact without eps, and holds while eps is small relative to the variance, which scales as a^2. It is invariant to the
scale of u, too: a network that begins with W, BN has the same training losses on 255 u as on u. So does any network on
standardized inputs.
"""

import copy
from dataclasses import replace

from torch import Tensor
from torch.autograd import grad
from torch.nn.functional import cross_entropy

from normexp.claims.exact.base import (
    ExactClaim,
    ExactResult,
    Table,
    build_network,
    build_norm,
    default_config,
    max_abs,
    normalize,
    randn,
)
from normexp.config import Config

SCALES = (1.0, 0.01, 0.1, 10.0, 100.0)
TINY_EPS, USUAL_EPS = 1e-12, 1e-5
"""With TINY_EPS the law is exact up to rounding."""
STEPS, LR = 8, 0.1


def compute() -> ExactResult:
    u, weight, target = randn(32, 8), randn(6, 8), randn(32, 6)
    effects = {eps: _effects_of_scale(eps, u, weight, target) for eps in (TINY_EPS, USUAL_EPS)}
    bn, none = (default_config(model="mlp", norm=name) for name in ("bn", "none"))
    bn = replace(bn, norm=replace(bn.norm, eps=TINY_EPS))
    images, labels = randn(64, 1, 8, 8).abs(), randn(64, 10).argmax(1)
    # With the mean and variance of all the data, as data.inputs=standardize does.
    standard, standard_255 = (normalize(x, (0, 1, 2, 3), eps=0) for x in (images, 255 * images))
    losses = {
        "bn": _losses(bn, (images, 255 * images), labels),
        "none, standardized inputs": _losses(none, (standard, standard_255), labels),
        "none": _losses(none, (images, 255 * images), labels),
    }
    change = {name: max(abs(a - b) for a, b in zip(*pair, strict=True)) for name, pair in losses.items()}
    of_output, of_u, _, scaled = zip(*effects[TINY_EPS], strict=True)
    scaled_usual = [row[-1] for row in effects[USUAL_EPS]]
    numbers = {
        "output_change": max(of_output),
        "gradient_to_u_change": max(of_u),
        # the range of a |dl/d(aW)| over all scales, relative to the value at a = 1
        "gradient_to_weight_spread": (max(scaled) - min(scaled)) / scaled[0],
        "gradient_to_weight_spread_usual_eps": (max(scaled_usual) - min(scaled_usual)) / scaled_usual[0],
        "loss_change_bn": change["bn"],
        "loss_change_standardised": change["none, standardized inputs"],
    }
    of_scales = (
        Table(
            f"One layer with weights times a, eps = {eps:g}",
            ("a", "largest change of y", "relative change of dl/du", "|dl/d(aW)|", "a |dl/d(aW)|"),
            tuple((a, *row) for a, row in sorted(zip(SCALES, rows, strict=True))),
        )
        for eps, rows in effects.items()
    )
    of_losses = Table(
        f"Losses of {STEPS} training steps on inputs u and on 255 u",
        ("norm", "first, u", "first, 255 u", "last, u", "last, 255 u", "largest change"),
        [(name, a[0], b[0], a[-1], b[-1], change[name]) for name, (a, b) in losses.items()],
    )
    return ExactResult(numbers, (*of_scales, of_losses))


def _effects_of_scale(eps: float, u: Tensor, weight: Tensor, target: Tensor) -> list[tuple[float, ...]]:
    """For each scale a: the change of the output, the relative change of dl/du, |dl/d(aW)|, and a |dl/d(aW)|."""
    rows: list[tuple[float, ...]] = []
    for a in SCALES:
        inputs, scaled = u.clone().requires_grad_(), (a * weight).requires_grad_()
        y = build_norm("bn", (len(weight),), eps=eps)(inputs @ scaled.T)
        to_u, to_weight = grad((y - target).square().sum(), (inputs, scaled))
        if not rows:  # a = 1
            unscaled_y, unscaled_to_u = y.detach(), to_u
        size, change = float(to_weight.norm()), float((to_u - unscaled_to_u).norm() / unscaled_to_u.norm())
        rows.append((max_abs(y - unscaled_y), change, size, a * size))
    return rows


def _losses(config: Config, inputs: tuple[Tensor, Tensor], labels: Tensor) -> list[list[float]]:
    """The losses of STEPS steps of gradient descent on the config's network, for either input, from the same weights."""
    initial, _ = build_network(config)
    losses: list[list[float]] = []
    for x in inputs:
        model = copy.deepcopy(initial)
        parameters = [*model.parameters()]
        losses.append([])
        for _ in range(STEPS):
            loss = cross_entropy(model(x), labels)
            losses[-1].append(float(loss.detach()))
            for parameter, gradient in zip(parameters, grad(loss, parameters), strict=True):
                parameter.data.sub_(LR * gradient)
    return losses


ENTRY = ExactClaim("scale-law", compute)
