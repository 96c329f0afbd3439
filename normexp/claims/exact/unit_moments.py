"""Batch norm fixes two moments of a channel's distribution and no others (Ioffe and Szegedy 2015, section 3).

x_hat = (x - mu) / sqrt(v + eps) has mean 0 and variance v / (v + eps). It is linear in x, so the shape of the distribution
stays the same: skewness E[z^3] and excess kurtosis E[z^4] - 3 of z = (x - mu) / sqrt(v), both 0 for a Gaussian, are those of x.
"""

import torch
from torch import Tensor

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_norm, max_abs, randn

EPS = 1e-5


def moments(x: Tensor) -> list[Tensor]:
    """Mean, biased variance, skewness and excess kurtosis of each column."""
    mean = x.mean(0)
    var = (x - mean).square().mean(0)
    z = (x - mean) / var.sqrt()
    return [mean, var, z.pow(3).mean(0), z.pow(4).mean(0) - 3]


def compute() -> ExactResult:
    m = 10_000
    uniform = torch.rand(m, dtype=torch.float64)
    channels = {
        "Gaussian": randn(m, mean=1, std=3),
        "exponential": -uniform.log(),
        "after relu": randn(m).relu(),
        "uniform": 10 * torch.rand(m, dtype=torch.float64),
        "two values": 5 * torch.randint(2, (m,)).double(),
        "exponential / 1000": -0.001 * uniform.log(),
    }
    x = torch.stack(list(channels.values()), dim=1)
    with torch.no_grad():
        y = build_norm("bn", (len(channels),), eps=EPS)(x)
    before, after = moments(x), moments(y)
    v = before[1]
    numbers = {
        "mean": max_abs(after[0]),
        "variance_off_formula": max_abs(after[1] - v / (v + EPS)),
        # Without the last channel, whose variance is smaller than eps.
        "variance_off_one": max_abs(after[1][:-1] - 1),
        "skewness": max_abs(after[2]),
        "kurtosis": max_abs(after[3]),
        "change_of_shape": max(max_abs(after[i] - before[i]) for i in (2, 3)),
    }
    sides = (("x", torch.stack(before)), ("y", torch.stack(after)))
    rows = [(name, side, *of[:, i].tolist()) for i, name in enumerate(channels) for side, of in sides]
    title = f"Moments of {m:,} values per channel, before (x) and after (y) batch norm with gamma 1, beta 0"
    table = Table(title, ("channel", "of", "mean", "variance", "skewness", "kurtosis - 3"), rows)
    return ExactResult(numbers, (table,))


ENTRY = ExactClaim("unit-moments", compute)
