"""What batch norm normalises with at test time (Ioffe and Szegedy 2015, algorithm 2): over batches of m samples,

    E[x] = E_B[mu_B]    and    Var[x] = m/(m-1) E_B[var_B].

Here the expectation is over every batch of m different samples that the data has, and Var[x] the unbiased variance of all of the
data. Then y = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta: one sample in, one out, whoever else is in its batch.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, cast

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor, nn

SAMPLES = 10
SIZES = (2, 3, 4, 6, 10)


def expected(x: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """E_B[mu_B] and E_B[var_B], with the biased variance, over all batches of m of the samples (N, F)."""
    batches = x[_subsets(len(x), m)]
    return batches.mean(1).mean(0), batches.var(1, correction=0).mean(0)


def _subsets(n: int, m: int) -> Tensor:
    """All choices of m of n, (count, m)."""
    import torch

    return torch.tensor(list(combinations(range(n), m)))


@seeded
def compute(seed: int) -> Worked:
    import torch
    from torch import Tensor

    from normexp.claims.exact.pieces import largest, norm, randn

    x = randn(SAMPLES, 3, mean=2, std=3)
    mean, var = x.mean(0), x.var(0, correction=1)
    found = {m: expected(x, m) for m in SIZES}
    corrected = {m: found[m][1] * m / (m - 1) for m in SIZES}

    layer = norm("bn", (3,), eps=1e-5).eval()
    cast(Tensor, layer.running_mean).copy_(found[2][0])
    cast(Tensor, layer.running_var).copy_(corrected[2])
    want = (x - mean) / (var + 1e-5).sqrt()

    mates = {}
    for name in ("bn", "ln", "in", "gn"):
        module = norm(name, (4, 3, 3), **({"groups": 2} if name == "gn" else {}))
        module(randn(8, 4, 3, 3))  # for bn, some running statistics
        mates[name] = tuple(_effect_of_mates(module.train(mode)) for mode in (True, False))

    # Four pixels an image that are much alike: a batch of two images has 8 values, but not 8 independent ones.
    images = randn(SAMPLES, 1) + 0.1 * randn(SAMPLES, 4)
    pairs = images[_subsets(SAMPLES, 2)].flatten(1)
    alike = float(pairs.var(1, correction=0).mean() * 8 / 7 / images.var(correction=1))
    with torch.no_grad():
        eval_off = largest(layer(x) - want)
    return Worked(
        numbers={
            "mean_off": max(largest(found[m][0] - mean) for m in SIZES),
            "variance_off": max(largest(corrected[m] - var) for m in SIZES),
            "variance_over_expected_biased_at_2": float((var / found[2][1])[0]),
            "output_off": eval_off,
            "mates_bn_training": mates["bn"][0],
            "mates_bn_test": mates["bn"][1],
            "mates_others": max(max(mates[name]) for name in ("ln", "in", "gn")),
        },
        tables=(
            Table(
                f"Every batch of m of {SAMPLES} samples (first feature)",
                ("m", "batches", "E[mu_B]", "mean of all", "E[var_B]", "m/(m-1) E[var_B]", "variance of all"),
                tuple(
                    (
                        m,
                        comb(SAMPLES, m),
                        *(float(each[0]) for each in (found[m][0], mean, found[m][1], corrected[m], var)),
                    )
                    for m in SIZES
                ),
            ),
            Table(
                "How far a sample's output moves when the others of its batch are exchanged",
                ("norm", "in training", "at test time"),
                tuple((name, *each) for name, each in mates.items()),
            ),
            Table(
                "Behind a convolution, m counts pixels, which are not independent",
                ("case", "m/(m-1) E[var_B] / variance of all values"),
                (("batches of 2 images, each of 4 pixels that are alike", alike),),
            ),
        ),
    )


def _effect_of_mates(module: nn.Module) -> float:
    import torch

    from normexp.claims.exact.pieces import largest, randn

    x = randn(1, 4, 3, 3)
    outputs = []
    state = {name: value.clone() for name, value in module.state_dict().items()}
    for std in (1, 5):
        outputs.append(module(torch.cat([x, randn(5, 4, 3, 3, std=std)]))[0])
        module.load_state_dict(state)
    return largest(outputs[0] - outputs[1])


ENTRY = Exact(name="inference-statistics", compute=compute)
