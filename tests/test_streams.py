"""Random streams: independent for every purpose, name and seed, and used independently by a run."""

import random
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from normexp.data.splits import Split, sample, split_indices
from normexp.models.build import build_model
from normexp.models.layer import Noise, named_layers
from normexp.streams import stream_seed
from normexp.training.build import build
from tests.conftest import compose

STREAMS = st.tuples(st.integers(0, 2**63 - 1), st.text(max_size=12), st.text(max_size=12))
CHANCE = 5.0
"""Standard errors; exceeded by chance once in 1.7 million."""


@given(STREAMS, STREAMS)
def test_streams_differ_wherever_seed_purpose_or_name_does(one, two):
    assert 0 <= stream_seed(*one) < 2**64
    assert (stream_seed(*one) == stream_seed(*two)) == (one == two)


def test_every_bit_of_the_seed_matters_in_the_low_half_that_torch_keeps():
    changed = [stream_seed(5, "order") ^ stream_seed(5 ^ (1 << bit), "order") for bit in range(63)]
    assert all(bits & 0xFFFFFFFF for bits in changed)
    flips = sum(bits.bit_count() for bits in changed)
    assert abs(flips - 63 * 32) < CHANCE * (63 * 64 / 4) ** 0.5


def test_seeds_of_streams_are_uniform():
    seeds = [
        stream_seed(seed, purpose, name) for seed in range(20) for purpose in ("weights", "order") for name in range(50)
    ]
    assert stats.kstest(np.array(seeds) / 2**64, "uniform").pvalue > 1e-3
    assert len(set(seeds)) == len(seeds)


FULL = ["dropout=0.5", "noise=0.5", "data.augment=[crop,flip]", "data=digits"]


def uniforms(seed, count=4096):
    """The next numbers, uniform in [0, 1), of each generator that a run draws from; and its order and split, as ranks."""
    parts = build(compose(*FULL, f"seed={seed}"))
    labels = np.zeros(count, dtype=np.int64)
    train, val = split_indices(labels, compose(*FULL, f"seed={seed}"))
    assert parts.augment is not None
    found = {
        "dropout and noise": torch.rand(count, dtype=torch.float64),
        "augmentation": torch.rand(count, dtype=torch.float64, generator=parts.augment.generator),
        "order": torch.rand(count, dtype=torch.float64, generator=parts.order._generator),
        "python": torch.tensor([random.random() for _ in range(count)]),
        "numpy": torch.from_numpy(np.random.random(count)),
        "split": torch.from_numpy(np.concatenate([val, train]) / count),
    }
    for name, layer in named_layers(parts.model).items():
        weight = layer.weight.weight.detach().flatten()[:count]
        found[f"weights of {name}"] = (weight / weight.abs().max()).double()
    return found


def test_streams_of_runs_are_unrelated():
    """All generators and layers of four seeds, two of which differ in their upper half alone."""
    found = {(seed, what): v.numpy() for seed in (0, 1, 3, 2**32 + 3) for what, v in uniforms(seed).items()}
    assert len(found) > 36
    for (one, x), (two, y) in combinations(found.items(), 2):
        n = min(len(x), len(y))
        r = np.corrcoef(x[:n], y[:n])[0, 1]
        assert abs(r) * n**0.5 < CHANCE, f"{one} and {two}: correlation {r:.3f} of {n} values"


@pytest.mark.parametrize("seed", range(3))
def test_generators_are_uniform(seed):
    for what, values in uniforms(seed).items():
        if not what.startswith("weights"):
            assert stats.kstest(values.numpy(), "uniform").pvalue > 1e-4, what


def samples(seeds, *, of=1000, size=300):
    """Which of `of` samples are used for evaluation, as 0 and 1: (seeds, of)."""
    pixels = torch.arange(of).reshape(-1, 1, 1, 1)
    split = Split(pixels, torch.zeros(of, dtype=torch.int64), torch.zeros(1), torch.ones(1))
    drawn = np.zeros((len(seeds), of))
    for row, seed in zip(drawn, seeds, strict=True):
        row[sample(split, size, seed=seed).images.flatten().numpy()] = 1
    return drawn


def test_every_validation_sample_is_equally_likely_to_be_used_for_evaluation():
    drawn = samples(range(400))
    assert (drawn.sum(axis=1) == 300).all()
    counts = drawn.sum(axis=0)
    expected = 400 * 0.3
    # Variance of a count without replacement within a seed; sums of its squares are chi-squared with 999 degrees of freedom.
    chi = ((counts - expected) ** 2).sum() / (400 * 0.3 * 0.7) * 999 / 1000
    assert abs(chi - 999) < CHANCE * (2 * 999) ** 0.5


def test_evaluation_samples_of_seeds_are_unrelated_to_each_other_and_to_the_split():
    seeds = [0, 1, 2, 3, 2**32, 2**32 + 3]
    drawn = samples(seeds)
    labels = np.zeros(1000, dtype=np.int64)
    ranks = [np.argsort(np.concatenate(split_indices(labels, compose(*FULL, f"seed={seed}")))) for seed in seeds]
    for one, two in combinations([*drawn, *ranks], 2):
        assert abs(np.corrcoef(one, two)[0, 1]) * 1000**0.5 < CHANCE


def test_flips_shifts_dropout_noise_and_order_of_the_first_step_are_unrelated():
    """The draws themselves: which images are flipped and moved, what is dropped, whose noise is negative, who comes first."""
    drawn = {what: [] for what in ("flip", "shift", "drop", "noise", "order")}
    ramp = torch.arange(1, 65.0).reshape(1, 1, 8, 8).expand(64, -1, -1, -1)
    for seed in range(20):
        config = compose(*FULL, f"seed={seed}")
        parts = build(config)
        drawn["order"].append(next(parts.order) % 2 == 0)
        moved = parts.augment(ramp)[:, 0]
        steps = torch.where(moved > 0, moved, torch.nan).diff(dim=2)
        drawn["flip"].append(steps.nanmean((1, 2)) < 0)
        drawn["shift"].append((moved[:, 0] == 0).all(1))
        state = torch.get_rng_state()
        drawn["noise"].append(Noise(0.5)(torch.zeros(64, 64)).mean(0) < 0)
        torch.set_rng_state(state)
        drawn["drop"].append(torch.nn.Dropout(0.5)(torch.ones(64)) == 0)
    values = {what: torch.cat(of).double().numpy() for what, of in drawn.items()}
    for what in ("flip", "noise", "drop"):
        assert abs(values[what].mean() - 0.5) < CHANCE * 0.5 / len(values[what]) ** 0.5, what
    for one, two in combinations(values, 2):
        if {one, two} != {
            "noise",
            "drop",
        }:  # which are drawn one after the other: here both are the generator's first numbers
            r = np.corrcoef(values[one], values[two])[0, 1]
            assert abs(r) * len(values[one]) ** 0.5 < CHANCE, f"{one} and {two}: {r:.3f}"


def test_dropout_masks_of_layers_steps_and_seeds_are_unrelated():
    masks = {}
    for seed in (0, 2**32):
        model = build(
            compose("model=mlp", "norm=none", "dropout=0.5", "activation=sigmoid", f"seed={seed}")
        ).model.train()
        for step in (1, 2):
            for name, layer in named_layers(model).items():
                if hasattr(layer, "dropout"):
                    layer.dropout.register_forward_hook(
                        lambda *args, key=(seed, step, name): masks.update({key: (args[2] == 0).flatten().numpy()})
                    )
            model(torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(step)))
            for layer in named_layers(model).values():
                for module in layer:
                    module._forward_hooks.clear()
    assert len(masks) == 12
    for (one, x), (two, y) in combinations(masks.items(), 2):
        assert abs(np.corrcoef(x, y)[0, 1]) * len(x) ** 0.5 < CHANCE, f"{one} and {two}"
    for mask in masks.values():
        assert abs(mask.mean() - 0.5) < CHANCE * 0.5 / len(mask) ** 0.5


def test_the_two_seeds_that_used_to_be_one_run():
    one, two = (build_model(compose("model=mlp", f"seed={seed}")) for seed in (3, 2**32 + 3))
    assert not torch.equal(one.fc1.weight.weight, two.fc1.weight.weight)
