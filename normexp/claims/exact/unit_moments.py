"""What batch norm fixes of a channel's distribution (Ioffe and Szegedy 2015, section 3): two moments and no more.

x_hat = (x - mu) / sqrt(v + eps) has mean 0 and variance v / (v + eps). It is a linear function of x, so that the shape stays:
skewness E[z^3] and excess kurtosis E[z^4] - 3 of z = (x - mu) / sqrt(v), which are 0 for a Gaussian, are those of x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-5


def moments(x: Tensor) -> list[Tensor]:
    """Mean, biased variance, skewness and excess kurtosis of each column."""
    mean = x.mean(0)
    var = (x - mean).square().mean(0)
    z = (x - mean) / var.sqrt()
    return [mean, var, z.pow(3).mean(0), z.pow(4).mean(0) - 3]


@seeded
def compute(seed: int) -> Worked:
    import torch

    from normexp.claims.exact.pieces import largest, norm, randn

    m = 10_000
    uniform = torch.rand(m, dtype=torch.float64)
    channels = {
        "Gaussian": randn(m, mean=1, std=3),
        "exponential": -uniform.log(),
        "behind relu": randn(m).relu(),
        "uniform": 10 * torch.rand(m, dtype=torch.float64),
        "two values": 5 * torch.randint(2, (m,)).double(),
        "exponential / 1000": -0.001 * uniform.log(),
    }
    x = torch.stack(list(channels.values()), dim=1)
    with torch.no_grad():
        y = norm("bn", (len(channels),), eps=EPS)(x)
    before, after = moments(x), moments(y)
    v = before[1]
    names = ("mean", "variance", "skewness", "kurtosis - 3")
    return Worked(
        numbers={
            "mean": largest(after[0]),
            "variance_off_formula": largest(after[1] - v / (v + EPS)),
            # The last channel varies so little that eps is most of what it is divided by.
            "variance_off_one": largest(after[1][:-1] - 1),
            "skewness": largest(after[2]),
            "kurtosis": largest(after[3]),
            "change_of_shape": max(largest(after[i] - before[i]) for i in (2, 3)),
        },
        tables=(
            Table(
                f"Moments of {m:,} values a channel, in front of batch norm and behind it (gamma 1, beta 0)",
                ("channel", *names, *(f"y: {name}" for name in names)),
                tuple((name, *(float(moment[i]) for moment in (*before, *after))) for i, name in enumerate(channels)),
            ),
        ),
    )


ENTRY = Exact(name="unit-moments", compute=compute)
