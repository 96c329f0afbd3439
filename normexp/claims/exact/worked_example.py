"""One batch of 4 samples with 3 channels of 2x2 values through batch norm, number by number.

Ioffe and Szegedy 2015, algorithm 1 and section 3.2, with torch's running statistics and momentum of 0.1:

    m = 4*2*2 = 16 values per channel
    running_mean = 0.9 * 0 + 0.1 mean                   running_var = 0.9 * 1 + 0.1 m/(m-1) var_B
"""

from typing import cast

from torch import Tensor

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_norm, max_abs, randn, values_per_mean

MOMENTUM = 0.1
SHAPE = (3, 2, 2)


def compute() -> ExactResult:
    x = randn(4, *SHAPE, mean=3, std=2)
    m = values_per_mean("bn", SHAPE, 4)
    mean, biased = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    unbiased = biased * m / (m - 1)
    norm = build_norm("bn", SHAPE, momentum=MOMENTUM)
    passes = []
    for _ in range(50):
        norm(x)
        passes.append((cast(Tensor, norm.running_mean).clone(), cast(Tensor, norm.running_var).clone()))
    running_mean, running_var = passes[0]
    want_mean, want_var = MOMENTUM * mean, (1 - MOMENTUM) + MOMENTUM * unbiased
    statistics = {
        "mean": mean,
        "variance, biased: / 16": biased,
        "variance, unbiased: / 15": unbiased,
        "running_mean": running_mean,
        "0.1 mean": want_mean,
        "the mean itself, as is sometimes said": mean,
        "running_var": running_var,
        "0.9 + 0.1 unbiased": want_var,
        "0.9 + 0.1 biased": (1 - MOMENTUM) + MOMENTUM * biased,
    }
    channels = tuple(f"channel {c + 1}" for c in range(3))
    numbers = {
        "values_a_channel": float(m),
        "parameters_a_channel": sum(p.numel() for p in norm.parameters()) / SHAPE[0],
        "running_mean_off": max_abs(running_mean - want_mean),
        "running_var_off": max_abs(running_var - want_var),
        "running_mean_from_batch_mean": float((running_mean - mean).abs().min()),
        "running_var_from_biased": float((running_var - (want_var - MOMENTUM * (unbiased - biased))).abs().min()),
    }
    pixels = [(b + 1, p + 1, *x[b, :, p // 2, p % 2].tolist()) for b in range(4) for p in range(4)]
    of_values = Table("The 16 values of each channel", ("sample", "pixel", *channels), pixels)
    of_statistics = Table(
        "Their statistics, and those of the layer after one forward pass in training",
        ("", *channels),
        [(name, *values.tolist()) for name, values in statistics.items()],
    )
    ratios = [(float(of_mean[0] / mean[0]), float(of_var[0] / unbiased[0])) for of_mean, of_var in passes]
    of_passes = Table(
        "Running statistics of channel 1 relative to the batch's, with the same batch in every pass",
        ("passes", "running_mean / mean", "1 - 0.9^passes", "running_var / unbiased"),
        [(n, ratios[n - 1][0], 1 - 0.9**n, ratios[n - 1][1]) for n in (1, 2, 5, 10, 20, 50)],
    )
    return ExactResult(numbers, (of_values, of_statistics, of_passes))


ENTRY = ExactClaim("worked-example", compute)
