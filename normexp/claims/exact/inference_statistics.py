"""The statistics that batch norm uses at test time (Ioffe and Szegedy 2015, algorithm 2). Over batches of m samples,

    E[x] = E_B[mu_B]    and    Var[x] = m/(m-1) E_B[var_B].

Here the expectation is over all batches of m different samples of the data, and Var[x] is the unbiased variance of all data.
Then y = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta, independent of the rest of the batch.
"""

from itertools import combinations
from math import comb
from typing import cast

import torch
from torch import Tensor, nn

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_norm, max_abs, randn

SAMPLES = 10
SIZES = (2, 3, 4, 6, 10)


def all_batches(x: Tensor, m: int) -> Tensor:
    """All choices (count, m, F) of m of the samples (N, F)."""
    return x[torch.tensor(list(combinations(range(len(x)), m)))]


def expected_statistics(x: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """E_B[mu_B] and E_B[var_B] (biased) over all batches of m of the samples (N, F)."""
    batches = all_batches(x, m)
    return batches.mean(1).mean(0), batches.var(1, correction=0).mean(0)


def compute() -> ExactResult:
    x = randn(SAMPLES, 3, mean=2, std=3)
    mean, var = x.mean(0), x.var(0, correction=1)
    expected = {m: expected_statistics(x, m) for m in SIZES}
    corrected = {m: expected[m][1] * m / (m - 1) for m in SIZES}

    norm = build_norm("bn", (3,), eps=1e-5).eval()
    cast(Tensor, norm.running_mean).copy_(expected[2][0])
    cast(Tensor, norm.running_var).copy_(corrected[2])
    want = (x - mean) / (var + 1e-5).sqrt()

    effects = {}
    for name in ("bn", "ln", "in", "gn"):
        module = build_norm(name, (4, 3, 3))
        module(randn(8, 4, 3, 3))  # gives bn running statistics
        effects[name] = tuple(_effect_of_batch(module.train(mode)) for mode in (True, False))

    # Four similar pixels per image: a batch of two images has 8 values, but not 8 independent ones.
    images = randn(SAMPLES, 1) + 0.1 * randn(SAMPLES, 4)
    pairs = all_batches(images, 2).flatten(1)
    dependent = float(pairs.var(1, correction=0).mean() * 8 / 7 / images.var(correction=1))
    numbers = {
        "mean_off": max(max_abs(expected[m][0] - mean) for m in SIZES),
        "variance_off": max(max_abs(corrected[m] - var) for m in SIZES),
        "variance_over_expected_biased_at_2": float((var / expected[2][1])[0]),
        "output_off": max_abs(norm(x) - want),
        "mates_bn_training": effects["bn"][0],
        "mates_bn_test": effects["bn"][1],
        "mates_others": max(max(effects[name]) for name in ("ln", "in", "gn")),
    }
    columns = {m: torch.stack([expected[m][0], mean, expected[m][1], corrected[m], var]) for m in SIZES}
    of_batches = Table(
        f"All batches of m out of {SAMPLES} samples (first feature)",
        ("m", "batches", "E[mu_B]", "mean of all", "E[var_B]", "m/(m-1) E[var_B]", "variance of all"),
        [(m, comb(SAMPLES, m), *columns[m][:, 0].tolist()) for m in SIZES],
    )
    by_norm = [(name, *effect) for name, effect in effects.items()]
    title = "Change of a sample's output when the rest of its batch is replaced"
    of_mates = Table(title, ("norm", "in training", "at test time"), by_norm)
    of_pixels = Table(
        "After a convolution, m counts pixels, which are not independent",
        ("case", "m/(m-1) E[var_B] / variance of all values"),
        (("batches of 2 images with 4 similar pixels each", dependent),),
    )
    return ExactResult(numbers, (of_batches, of_mates, of_pixels))


def _effect_of_batch(norm: nn.Module) -> float:
    """The largest change of a sample's output between two batches that contain it."""
    x = randn(1, 4, 3, 3)
    outputs = []
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    for std in (1, 5):
        outputs.append(norm(torch.cat([x, randn(5, 4, 3, 3, std=std)]))[0])
        norm.load_state_dict(state)
    return max_abs(outputs[0] - outputs[1])


ENTRY = ExactClaim("inference-statistics", compute)
