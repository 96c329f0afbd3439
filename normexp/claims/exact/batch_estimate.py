"""Mini-batch statistics estimate those of the data set (Ioffe and Szegedy 2015, section 3.1).

For m samples drawn independently, whatever the distribution,

    sqrt(E[(mu_B - mu)^2]) = sigma / sqrt(m).

The error of var_B falls at the same rate, apart from a bias of sigma^2 / m.
"""

import numpy as np
import torch
from torch import Tensor

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, randn

SIZES = (4, 8, 16, 32, 64, 128, 256)
DRAWS, WIDTH = 400, 32


def rms_errors(values: Tensor, m: int, *, replacement: bool) -> tuple[float, float]:
    """RMS errors of the mean (in standard deviations) and variance (relative) of batches of m samples, over DRAWS batches and
    all channels. Draws are independent only with replacement."""
    mean, var = values.mean(0), values.var(0, correction=0)
    weights = torch.ones(len(values))
    batches = [values[torch.multinomial(weights, m, replacement=replacement)] for _ in range(DRAWS)]
    means = torch.stack([(batch.mean(0) - mean) / var.sqrt() for batch in batches])
    variances = torch.stack([batch.var(0, correction=0) / var - 1 for batch in batches])
    return float(means.square().mean().sqrt()), float(variances.square().mean().sqrt())


def compute() -> ExactResult:
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().data)
    images = (images - images.mean()) / images.std()
    values = images @ randn(images.shape[1], WIDTH, std=images.shape[1] ** -0.5)  # outputs of a random linear layer
    independent = [rms_errors(values, m, replacement=True) for m in SIZES]
    distinct = [rms_errors(values, m, replacement=False) for m in SIZES]
    slope_mean, slope_var = np.polyfit(np.log(SIZES), np.log(independent), 1)[0].tolist()  # of log(error) over log(m)
    root_m = independent[0][0] * SIZES[0] ** 0.5
    numbers = {"slope_mean": slope_mean, "slope_var": slope_var, "mean_times_root_m": root_m}
    errors = zip(SIZES, independent, distinct, strict=True)
    rows = [(m, mean, mean * m**0.5, var, var * m**0.5, other) for m, (mean, var), (other, _) in errors]
    title = f"Error of a batch's mean (in standard deviations) and variance (relative), {len(values):,} samples"
    heads = ("m", "mean", "times sqrt(m)", "variance", "times sqrt(m)", "mean, without replacement")
    return ExactResult(numbers, (Table(title, heads, rows),))


ENTRY = ExactClaim("batch-estimate", compute)
