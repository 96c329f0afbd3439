"""Mini-batch statistics as estimates of the data's (Ioffe and Szegedy 2015, section 3.1): of m samples drawn independently,

    sqrt(E[(mu_B - mu)^2]) = sigma / sqrt(m),

whatever the distribution; the error of var_B falls in the same way, but for a bias of sigma^2 / m.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (4, 8, 16, 32, 64, 128, 256)
DRAWS = 400
WIDTH = 32


def activations() -> Tensor:
    """What enters the first activation of a random layer, for the images of `digits`: (1797, WIDTH), whole data set."""
    import torch
    from sklearn.datasets import load_digits

    from normexp.claims.exact.pieces import randn

    images = torch.from_numpy(load_digits().data)
    images = (images - images.mean()) / images.std()
    return images @ randn(images.shape[1], WIDTH, std=images.shape[1] ** -0.5)


def errors(values: Tensor, m: int, *, replace: bool) -> tuple[float, float]:
    """Root mean square error of the mean, in standard deviations of the channel, and of the variance, over the variance; of DRAWS
    batches and all channels. replace: whether a sample may come twice, so that draws are independent."""
    import torch

    mean, var = values.mean(0), values.var(0, correction=0)
    weights = torch.ones(len(values))
    batches = [values[torch.multinomial(weights, m, replacement=replace)] for _ in range(DRAWS)]
    means = torch.stack([(batch.mean(0) - mean) / var.sqrt() for batch in batches])
    variances = torch.stack([batch.var(0, correction=0) / var - 1 for batch in batches])
    return float(means.square().mean().sqrt()), float(variances.square().mean().sqrt())


def slope(found: list[float]) -> float:
    """Of log(error) over log(m), by least squares."""
    import torch

    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (SIZES, found))
    x = x - x.mean()
    return float((x @ y) / (x @ x))


@seeded
def compute(seed: int) -> Worked:
    values = activations()
    independent = [errors(values, m, replace=True) for m in SIZES]
    distinct = [errors(values, m, replace=False) for m in SIZES]
    return Worked(
        numbers={
            "slope_mean": slope([mean for mean, _ in independent]),
            "slope_var": slope([var for _, var in independent]),
            "mean_times_root_m": independent[0][0] * SIZES[0] ** 0.5,
        },
        tables=(
            Table(
                f"Error of a batch's mean (in standard deviations) and variance (relative), {len(values):,} samples",
                ("m", "mean", "times sqrt(m)", "variance", "times sqrt(m)", "mean, no sample twice"),
                tuple(
                    (m, mean, mean * m**0.5, var, var * m**0.5, apart)
                    for m, (mean, var), (apart, _) in zip(SIZES, independent, distinct, strict=True)
                ),
            ),
        ),
    )


ENTRY = Exact(name="batch-estimate", compute=compute)
