"""Batch norm is its formula (Ioffe and Szegedy 2015, algorithm 1). For each feature or channel of a batch B:

    mu_B = mean(x)    var_B = mean((x - mu_B)^2)    x_hat = (x - mu_B) / sqrt(var_B + eps)    y = gamma x_hat + beta

The mean is over all m values of the channel: m = B after a linear layer, B*H*W after a convolution.
"""

import torch
from torch import Tensor
from torch.autograd import grad

from normexp.claims.exact.base import ExactClaim, ExactResult, build_norm, max_abs, normalize, randn, set_affine
from normexp.claims.verdict import Table

EPS = 1e-5


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = EPS) -> Tensor:
    """The formula for x of shape (m, C)."""
    return gamma * normalize(x, (0,), eps=eps) + beta


def misprint(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """A common misprint: the square of the mean in place of the variance."""
    mu = x.mean(0)
    return gamma * (x - mu) / (mu.square() + EPS).sqrt() + beta


def unbiased(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """The formula with the unbiased variance, which divides by m - 1."""
    return gamma * (x - x.mean(0)) / (x.var(0, correction=1) + EPS).sqrt() + beta


def compute() -> ExactResult:
    gamma, beta = randn(4), randn(4)
    pairs = []  # inputs and outputs after a linear layer and after a convolution: (B, C, H, W) as (m, C) with m = B*H*W
    for shape in ((4,), (4, 3, 3)):
        norm = build_norm("bn", shape, eps=EPS)
        set_affine(norm, gamma, beta)
        x = randn(6, *shape, mean=3, std=2)
        pairs.append([values.detach().movedim(1, -1).reshape(-1, 4) for values in (x, norm(x))])

    formulas = {
        "var_B + eps, biased": batch_norm,
        "var_B + eps, unbiased": unbiased,
        "mu_B^2 + eps, the misprint": misprint,
    }
    differences = {name: [max_abs(f(x, gamma, beta) - y) for x, y in pairs] for name, f in formulas.items()}

    x = randn(6, 4, mean=3, std=2)
    x[:, 0] = 7.3  # a constant channel
    norm = build_norm("bn", (4,), eps=EPS)
    set_affine(norm, gamma, beta)
    y = norm(x.requires_grad_())
    (gradient,) = grad((y * randn(6, 4)).sum(), x)
    without_eps = batch_norm(x.detach(), gamma, beta, eps=0)
    effect_of_eps = without_eps[:, 1:] - batch_norm(x.detach(), gamma, beta)[:, 1:]

    by_formula, by_unbiased, by_misprint = differences.values()
    numbers = {
        "difference_linear": by_formula[0],
        "difference_conv": by_formula[1],
        "difference_unbiased": min(by_unbiased),
        "difference_misprint": min(by_misprint),
        "constant_from_beta": max_abs(y[:, 0] - beta[0]),
        "not_finite": float((~gradient.isfinite()).sum() + (~y.isfinite()).sum()),
        "not_finite_without_eps": float((~without_eps[:, 0].isfinite()).sum()),
        "effect_of_eps": max_abs(effect_of_eps),
    }
    x, by_torch = pairs[0]
    ours, wrong = batch_norm(x, gamma, beta), misprint(x, gamma, beta)
    steps = torch.stack([x, x - x.mean(0), batch_norm(x, gamma * 0 + 1, beta * 0), ours, by_torch, wrong], dim=-1)
    of_steps = Table(
        f"One feature after a linear layer, gamma = {float(gamma[0]):.4g}, beta = {float(beta[0]):.4g}",
        ("x", "x - mu_B", "x_hat", "y by the formula", "y by torch", "y by the misprint"),
        steps[:, 0].tolist(),
    )
    heads = ("under the root", "after a linear layer", "after a convolution")
    rows = [(name, *by_place) for name, by_place in differences.items()]
    of_differences = Table("Largest difference from torch's layer", heads, rows)
    return ExactResult(numbers, (of_steps, of_differences))


ENTRY = ExactClaim("formula", compute)
