"""Mini-batch statistics estimate those of the data set (Ioffe and Szegedy 2015, section 3.1).

For m samples drawn independently, whatever the distribution,

    sqrt(E[(mu_B - mu)^2]) = sigma / sqrt(m).

The error of var_B falls at the same rate, apart from a bias of sigma^2 / m.
"""

import torch
from torch import Tensor

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, randn

SIZES = (4, 8, 16, 32, 64, 128, 256)
DRAWS = 400
WIDTH = 32


def preactivations() -> Tensor:
    """The outputs (1797, WIDTH) of a random linear layer for all images of `digits`."""
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().data)
    images = (images - images.mean()) / images.std()
    return images @ randn(images.shape[1], WIDTH, std=images.shape[1] ** -0.5)


def rms_errors(values: Tensor, m: int, *, replacement: bool) -> tuple[float, float]:
    """RMS errors of the mean and variance of batches of m samples, over DRAWS batches and all channels.

    Errors of the mean are in standard deviations of the channel, those of the variance relative. Draws are independent
    with replacement only.
    """
    mean, var = values.mean(0), values.var(0, correction=0)
    weights = torch.ones(len(values))
    batches = [values[torch.multinomial(weights, m, replacement=replacement)] for _ in range(DRAWS)]
    means = torch.stack([(batch.mean(0) - mean) / var.sqrt() for batch in batches])
    variances = torch.stack([batch.var(0, correction=0) / var - 1 for batch in batches])
    return float(means.square().mean().sqrt()), float(variances.square().mean().sqrt())


def log_log_slope(errors: list[float]) -> float:
    """Least-squares slope of log(error) over log(m)."""
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (SIZES, errors))
    x = x - x.mean()
    return float((x @ y) / (x @ x))


def compute() -> ExactResult:
    values = preactivations()
    independent = [rms_errors(values, m, replacement=True) for m in SIZES]
    distinct = [rms_errors(values, m, replacement=False) for m in SIZES]
    numbers = {
        "slope_mean": log_log_slope([mean for mean, _ in independent]),
        "slope_var": log_log_slope([var for _, var in independent]),
        "mean_times_root_m": independent[0][0] * SIZES[0] ** 0.5,
    }
    table = Table(
        f"Error of a batch's mean (in standard deviations) and variance (relative), {len(values):,} samples",
        ("m", "mean", "times sqrt(m)", "variance", "times sqrt(m)", "mean, without replacement"),
        tuple(
            (m, mean, mean * m**0.5, var, var * m**0.5, distinct_mean)
            for m, (mean, var), (distinct_mean, _) in zip(SIZES, independent, distinct, strict=True)
        ),
    )
    return ExactResult(numbers, (table,))


ENTRY = ExactClaim("batch-estimate", compute)
