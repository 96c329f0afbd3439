"""Batch norm is differentiable, through its mean and its variance (Ioffe and Szegedy 2015, section 3, the six formulas
below algorithm 1). With g = dl/dy of each of the m values of a channel:

    dl/dx_hat = g gamma
    dl/dvar   = sum dl/dx_hat (x - mu) * -1/2 (var + eps)^(-3/2)
    dl/dmu    = sum dl/dx_hat * -1/sqrt(var + eps) + dl/dvar * sum -2 (x - mu) / m
    dl/dx     = dl/dx_hat / sqrt(var + eps) + dl/dvar 2 (x - mu) / m + dl/dmu / m
    dl/dgamma = sum g x_hat
    dl/dbeta  = sum g
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-5
ROWS = ("dl/dx_hat", "dl/dvar", "dl/dmu", "dl/dx", "dl/dgamma", "dl/dbeta")


def six(g: Tensor, x: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
    """The paper's formulas, for (m, C), in the order of ROWS."""
    m, mu = len(x), x.mean(0)
    var = (x - mu).square().mean(0)
    root = (var + EPS).sqrt()
    x_hat_grad = g * gamma
    var_grad = (x_hat_grad * (x - mu)).sum(0) * -0.5 * (var + EPS) ** -1.5
    mu_grad = (x_hat_grad * -1 / root).sum(0) + var_grad * (-2 * (x - mu)).sum(0) / m
    x_grad = x_hat_grad / root + var_grad * 2 * (x - mu) / m + mu_grad / m
    return x_hat_grad, var_grad, mu_grad, x_grad, (g * (x - mu) / root).sum(0), g.sum(0)


@seeded
def compute(seed: int) -> Worked:
    import torch

    from normexp.claims.exact.pieces import gradient, largest, norm, randn, set_affine

    channels = 3
    x = randn(8, channels, mean=2, std=1.5).requires_grad_()
    gamma, beta, target = randn(channels), randn(channels), randn(8, channels)
    layer = norm("bn", (channels,), eps=EPS)
    set_affine(layer, gamma, beta)
    own_gamma, own_beta = gamma.clone().requires_grad_(), beta.clone().requires_grad_()

    # The forward pass with each intermediate value a node of the graph.
    mu = x.mean(0)
    var = (x - mu).square().mean(0)
    x_hat = (x - mu) / (var + EPS).sqrt()
    y = own_gamma * x_hat + own_beta
    nodes = gradient(_loss(y, target), y, x_hat, var, mu, x, own_gamma, own_beta)
    formulas = six(nodes[0], x.detach(), gamma)
    off = [largest(a - b) for a, b in zip(formulas, nodes[1:], strict=True)]

    y = layer(x)
    torchs = gradient(_loss(y, target), x, *layer.parameters())
    off_layer = max(largest(a - b) for a, b in zip(formulas[3:], torchs, strict=True))
    constant = own_gamma * (x - mu.detach()) / (var.detach() + EPS).sqrt() + own_beta
    (held,) = gradient(_loss(constant, target), x)
    numeric = torch.autograd.gradcheck(layer, (x,), raise_exception=False)

    def size(values: Tensor) -> float:
        return float(values.detach().norm())

    grads = {"through mu and var": torchs[0], "mu and var held constant": held}
    return Worked(
        numbers={
            "gradcheck": float(numeric),
            **{f"off_{name.removeprefix('dl/d')}": each for name, each in zip(ROWS, off, strict=True)},
            "off_layer": off_layer,
            "share_of_statistics": size(torchs[0] - held) / size(held),
        },
        tables=(
            Table(
                "The paper's six formulas against automatic differentiation (8 samples, 3 channels)",
                ("gradient", "norm", "largest difference"),
                tuple((name, size(a), b) for name, a, b in zip(ROWS, formulas, off, strict=True)),
            ),
            Table(
                "dl/dx with the way through the statistics and without",
                ("", "norm", "largest |sum over the batch|", "largest |sum of dl/dx x_hat|"),
                tuple(
                    (name, size(each), largest(each.sum(0)), largest((each * x_hat).sum(0)))
                    for name, each in grads.items()
                ),
            ),
        ),
    )


def _loss(y: Tensor, target: Tensor) -> Tensor:
    return (y - target).square().sum() / 2


ENTRY = Exact(name="gradient-flows", compute=compute)
