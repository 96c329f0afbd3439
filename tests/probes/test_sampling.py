"""Measurements of a sample against those of all values, over 30 seeds: unbiased within chance, and as precise as the docs
say.
"""

import re

import numpy as np
import pytest
import torch
from scipy import stats

from normexp.models.build import build_model
from normexp.probes.sampling import Sampler
from normexp.training.build import build
from tests.conftest import compose
from tests.probes.watcher import Watcher

SEEDS = range(30)
SIZE = 1024
NETS = {
    "cnn bn relu": ["norm=bn"],
    "cnn none sigmoid": ["norm=none", "activation=sigmoid"],
    "cnn ln gelu": ["norm=ln", "activation=gelu"],
    "mlp bn": ["model=mlp"],
}
CHANCE = 4.5
"""Of Student's t with 29 degrees of freedom: exceeded by chance once in 10,000; each test compares some hundred numbers."""


pytestmark = pytest.mark.xdist_group("sampling")  # so that each fixture is made once


@pytest.fixture(scope="session", params=NETS)
def measured(request):
    """Scalars of the third step for each seed, from a sample and from all values, with other weights, images and indices."""
    both = []
    for seed in SEEDS:
        probes = ["probe.every=1", "probe.jumps=true", "probe.linearity=true", "probe.affine=false", f"seed={seed}"]
        config, whole = (compose(*NETS[request.param], *probes, f"probe.samples={n}") for n in (SIZE, 10**8))
        parts = build(compose(*NETS[request.param], f"seed={seed}"))
        batches = [parts.data.train.batch(next(parts.order)) for _ in range(3)]
        found = []
        for each in (config, whole):
            model = build_model(compose(*NETS[request.param], f"seed={seed}"))
            watcher = Watcher(model, each)
            found.append([watcher(*batch) for batch in batches][-1].scalars)
        both.append(found)
    return both


def differences(measured, tag):
    """Sampled minus exact value, for each seed."""
    return np.array([sampled[tag] - whole[tag] for sampled, whole in measured])


@pytest.mark.long
def test_the_whole_batch_counts_where_a_sample_would_mislead(measured):
    """Dead units and the units' own means: the same numbers, whatever the sample's size."""
    tags = [tag for tag in measured[0][0] if tag.startswith(("dead/", "jump/", "unit_drift/", "linearity/"))]
    assert len(tags) == 12
    for tag in tags:
        assert not differences(measured, tag).any(), tag


@pytest.mark.long
def test_sampled_numbers_are_unbiased(measured):
    kinds = ("mean", "std", "p1", "p15", "p50", "p85", "p99")
    tags = [tag for tag in measured[0][0] if tag.startswith(("activation_", "norm_out")) and tag.endswith(kinds)]
    tags += [tag for tag in measured[0][0] if tag.startswith(("saturated/", "derivative/"))]
    assert len(tags) > 40
    for tag in tags:
        off = differences(measured, tag)
        if off.any():
            t = off.mean() / (off.std(ddof=1) / len(off) ** 0.5)
            assert abs(t) < CHANCE, f"{tag}: {off.mean():+.3g} on average, t={t:.1f}"


@pytest.mark.long
def test_errors_of_a_sample_are_no_larger_than_documented(measured):
    """docs/checks.md: at most std / sqrt(n) for the mean, and so on; less where the strata are alike."""
    errors = {"/mean": 1.0, "/std": 0.71, "/p50": 1.25, "/p15": 1.5, "/p85": 1.5}
    for layer in (tag.removesuffix("/mean") for tag in measured[0][0] if re.fullmatch("activation_in/.*/mean", tag)):
        stds = np.array([whole[f"{layer}/std"] for _, whole in measured])
        for kind, factor in errors.items():
            error = np.sqrt(((differences(measured, layer + kind) / stds) ** 2).mean())
            # 1.6: of 30 seeds, and of values that are not quite a Gaussian's
            assert error < 1.6 * factor * SIZE**-0.5, f"{layer}{kind}: {error * SIZE**0.5:.2f} std / sqrt(n)"
    for tag in (tag for tag in measured[0][0] if tag.startswith("saturated/")):
        assert np.sqrt((differences(measured, tag) ** 2).mean()) < 1.3 * 0.5 * SIZE**-0.5


def test_a_run_samples_by_its_seed():
    values = torch.randn(64, 16, 28, 28)
    samples = []
    for seed in (0, 0, 1, 2**32):
        sampler = build(compose(f"seed={seed}")).probes._sampler
        sampler.start(100)
        samples.append(sampler(values))
    assert torch.equal(samples[0], samples[1])
    assert not any(torch.equal(samples[0], other) for other in samples[2:])


def test_drift_of_a_layer_that_does_not_move_is_the_samples_noise():
    """About 1 / sqrt(n) interquartile ranges, as the docs say, of values that are independent."""
    found = []
    for seed in range(200):
        sampler = Sampler(4096, seed=seed)
        values = torch.randn(64, 16, 28, 28, generator=torch.Generator().manual_seed(seed))
        medians = []
        for step in (1, 2):
            sampler.start(step)
            medians.append(sampler(values).median())
        found.append(abs(float(medians[1] - medians[0])) / 1.349)
    assert np.mean(found) == pytest.approx(4096**-0.5, rel=0.2)


def test_indices_differ_by_step_and_seed_and_are_uniform():
    """Every value is equally likely; indices of different steps and seeds are independent."""
    values = torch.arange(3200.0).reshape(8, 4, 10, 10)
    counts, drawn = np.zeros(values.numel()), {}
    for seed in range(100):
        sampler = Sampler(500, seed=seed)
        for step in (1, 2, 3, 4):
            sampler.start(step)
            drawn[seed, step] = sampler(values).flatten().long().numpy()
            np.add.at(counts, drawn[seed, step], 1)
    # Of 400 draws each takes 500 of the 3,200: a value's count is about binomial(400, 500 / 3200).
    variance = 400 * (500 / 3200) * (1 - 500 / 3200)
    assert stats.kstest((counts - counts.mean()) / variance**0.5, "norm").statistic < 0.1
    assert counts.var() == pytest.approx(variance, rel=0.15)
    for one, two in (((0, 1), (0, 2)), ((0, 1), (1, 1)), ((3, 2), (4, 1))):
        # Within its stratum of 6.4 values a pair falls on the same one in 16 % of the cases.
        assert (drawn[one] == drawn[two]).mean() == pytest.approx(1 / 6.4, abs=0.08)


def test_inputs_and_outputs_of_an_activation_share_their_indices():
    sampler = Sampler(100, seed=0)
    sampler.start(7)
    values = torch.randn(16, 8, 5, 5)
    assert torch.equal(sampler(values).relu(), sampler(values.relu()))


def test_the_indices_of_a_layer_do_not_depend_on_which_others_are_probed():
    values, other = torch.randn(16, 8, 5, 5), torch.randn(16, 4, 9, 9)
    alone, after = Sampler(100, seed=0), Sampler(100, seed=0)
    for sampler in (alone, after):
        sampler.start(7)
    after(other)
    assert torch.equal(alone(values), after(values))
