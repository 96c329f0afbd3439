"""Batch norm is what its formula says (Ioffe and Szegedy 2015, algorithm 1), for each feature or channel of a batch B:

    mu_B = mean(x)    var_B = mean((x - mu_B)^2)    x_hat = (x - mu_B) / sqrt(var_B + eps)    y = gamma x_hat + beta

The mean is over all m values of the channel: m = B behind a linear layer, B*H*W behind a convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

EPS = 1e-5


def own(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    """The formula, on (m, C)."""
    mu = x.mean(0)
    var = (x - mu).square().mean(0)
    x_hat = (x - mu) / (var + eps).sqrt()
    return gamma * x_hat + beta


def misprint(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """As it is often printed: the mean's square where the variance belongs."""
    mu = x.mean(0)
    return gamma * (x - mu) / (mu.square() + EPS).sqrt() + beta


def unbiased(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """With the sum of squares over m - 1 instead of m."""
    return gamma * (x - x.mean(0)) / (x.var(0, correction=1) + EPS).sqrt() + beta


@seeded
def compute(seed: int) -> Worked:
    from normexp.claims.exact.pieces import gradient, largest, norm, randn, set_affine

    gamma, beta = randn(4), randn(4)
    columns: dict[str, Tensor] = {}
    torchs: dict[str, Tensor] = {}
    for place, shape in (("linear", (4,)), ("conv", (4, 3, 3))):
        layer = norm("bn", shape, eps=EPS)
        set_affine(layer, gamma, beta)
        x = randn(6, *shape, mean=3, std=2)
        # (B, C, H, W) as (m, C): a convolution's channel has its m = B*H*W values below each other.
        columns[place] = x.movedim(1, -1).reshape(-1, 4)
        torchs[place] = layer(x).detach().movedim(1, -1).reshape(-1, 4)

    def difference(formula: Callable[[Tensor, Tensor, Tensor], Tensor]) -> dict[str, float]:
        return {place: largest(formula(x, gamma, beta) - torchs[place]) for place, x in columns.items()}

    differences = {
        "var_B + eps, biased": difference(own),
        "var_B + eps, unbiased": difference(unbiased),
        "mu_B^2 + eps, the misprint": difference(misprint),
    }

    constant = randn(6, 4, mean=3, std=2)
    constant[:, 0] = 7.3
    constant.requires_grad_()
    layer = norm("bn", (4,), eps=EPS)
    set_affine(layer, gamma, beta)
    y = layer(constant)
    (grad,) = gradient((y * randn(6, 4)).sum(), constant)
    without = own(constant.detach(), gamma, beta, eps=0)
    ordinary = without[:, 1:] - own(constant.detach(), gamma, beta)[:, 1:]

    right, wrong, swapped = list(differences.values())
    x = columns["linear"]
    steps = [x, x - x.mean(0), own(x, gamma * 0 + 1, beta * 0), own(x, gamma, beta), torchs["linear"]]
    rows = [tuple(float(column[i, 0]) for column in (*steps, misprint(x, gamma, beta))) for i in range(len(x))]
    return Worked(
        numbers={
            "difference_linear": right["linear"],
            "difference_conv": right["conv"],
            "difference_unbiased": min(wrong.values()),
            "difference_misprint": min(swapped.values()),
            "constant_from_beta": largest(y[:, 0] - beta[0]),
            "not_finite": float((~grad.isfinite()).sum() + (~y.isfinite()).sum()),
            "not_finite_without_eps": float((~without[:, 0].isfinite()).sum()),
            "effect_of_eps": largest(ordinary),
        },
        tables=(
            Table(
                f"One feature behind a linear layer, gamma = {float(gamma[0]):.4g}, beta = {float(beta[0]):.4g}",
                ("x", "x - mu_B", "x_hat", "y by the formula", "y by torch", "y by the misprint"),
                tuple(rows),
            ),
            Table(
                "Largest difference from torch's layer",
                ("under the root", "behind a linear layer", "behind a convolution"),
                tuple((name, *each.values()) for name, each in differences.items()),
            ),
        ),
    )


ENTRY = Exact(name="formula", compute=compute)
