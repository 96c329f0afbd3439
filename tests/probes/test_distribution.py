"""Distributions against NumPy and SciPy in float64, and the accuracy of samples."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch._subclasses.fake_tensor import FakeTensorMode

from normexp.probes.base import chunks
from normexp.probes.distribution import BINS, MIN_BINS, PERCENTILES, Distributions, bins
from normexp.probes.sampling import Sampler
from normexp.probes.saturation import derivative
from tests.conftest import SHARED_DATA, compose, needs_data

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


def describe(*rows):
    arrays = {str(i): np.array(row, dtype=np.float32) for i, row in enumerate(rows)}
    return list(Distributions()(arrays).values())


@given(st.lists(st.lists(FLOATS, min_size=1, max_size=40), min_size=1, max_size=4))
def test_every_finite_value_is_counted_and_so_are_the_others(rows):
    for values, found in zip(rows, describe(*rows), strict=True):
        finite = np.array([v for v in values if math.isfinite(v)], dtype=np.float64)
        histogram = found.histogram
        assert found.nonfinite == histogram.nonfinite == len(values) - len(finite)
        assert sum(histogram.counts) == len(finite)
        assert (len(histogram.counts), len(histogram.edges)) == (BINS, BINS + 1)
        if not len(finite):
            assert found.mean is found.std is found.skew is found.percentiles[50] is None
            continue
        assert (histogram.minimum, histogram.maximum) == (finite.min(), finite.max())
        scale = np.abs(finite).max()
        assert found.mean == pytest.approx(math.fsum(finite) / len(finite), rel=1e-9, abs=1e-12 * scale)
        assert found.std == pytest.approx(finite.std(), rel=1e-6, abs=1e-9 * scale)
        for p in PERCENTILES:
            assert found.percentiles[p] == pytest.approx(np.percentile(finite, p), rel=1e-9, abs=1e-9 * scale)
        if (finite == finite[0]).all():
            assert (found.std, found.skew, found.kurtosis) == (0, None, None)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=200))
def test_bins_are_numpys_between_the_same_edges(values):
    (found,) = describe(values)
    counts, _ = np.histogram(np.array(values, dtype=np.float32), bins=np.array(found.histogram.edges))
    assert found.histogram.counts == counts.tolist()


def test_moments_are_scipys():
    generator = np.random.default_rng(0)
    samples = [generator.normal(3, 2, 5000), generator.exponential(size=300), generator.uniform(size=5000)]
    for sample, found in zip(samples, describe(*samples), strict=True):
        direct = sample.astype(np.float32).astype(np.float64)
        assert found.mean == pytest.approx(direct.mean())
        assert found.std == pytest.approx(direct.std())
        assert found.skew == pytest.approx(stats.skew(direct), abs=1e-9)
        assert found.kurtosis == pytest.approx(stats.kurtosis(direct), abs=1e-9)
        assert found.histogram.total == pytest.approx(direct.sum())
        assert found.histogram.total_squares == pytest.approx((direct**2).sum())


LIMITS = st.floats(-(2.0**100), 2.0**100, width=32)


@given(LIMITS, LIMITS, LIMITS, LIMITS)
def test_bins_hold_the_values_and_are_not_much_too_wide(a, b, c, d):
    before = bins(min(c, d), max(c, d), None)
    for earlier in (None, before):
        low, high = min(a, b), max(a, b)
        first, exponent = bins(low, high, earlier)
        width = 2.0**exponent
        assert first * width <= low
        assert high <= (first + BINS) * width
        if low < high and high - low > 1e-6 * max(abs(low), abs(high)):
            assert (high - low) / width >= MIN_BINS - 1


def test_bins_stay_while_values_move_within_them_and_follow_when_they_leave():
    first = bins(-0.9, 3.1, None)
    assert bins(-0.7, 2.9, first) == first
    assert bins(-0.9, 1.2, first) == first
    wider = bins(-8.0, 8.0, first)
    assert wider != first
    assert bins(-0.1, 0.1, wider) != wider  # they fill less than a quarter
    assert bins(0.001, 0.999, None) == (0, -6)  # sigmoids: 0 to 1


def test_a_constant_gets_a_narrow_range_and_does_not_move_the_bins():
    (found,) = describe([2.0] * 7)
    assert max(found.histogram.counts) == 7
    assert found.histogram.edges[-1] - found.histogram.edges[0] < 0.02
    assert bins(1.0, 1.0, (-32, -3)) == (-32, -3)


def test_all_of_a_small_tensor_and_a_bounded_part_of_a_large_one():
    small = torch.arange(10.0).reshape(2, 5)
    assert torch.equal(Sampler(10, seed=0)(small), small)
    state, sampler = torch.get_rng_state(), Sampler(4096, seed=0)
    for shape in ((64, 16, 28, 28), (500, 300), (4, 3, 5000), (2, 9000), (1, 100_000)):
        large = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        sample = sampler(large)
        assert sample.shape == (4096, 1)
        assert torch.equal(sample, sampler(large))  # the same places, within a step
        assert set(sample.flatten().tolist()) <= set(large.flatten().tolist())
    assert torch.equal(state, torch.get_rng_state())


def test_a_sample_has_as_many_values_of_each_channel():
    values = torch.arange(16.0)[None, :, None, None].expand(64, 16, 28, 28)
    for layout in (torch.contiguous_format, torch.channels_last):
        sample = Sampler(4096, seed=0)(values.contiguous(memory_format=layout))
        assert sample.flatten().unique(return_counts=True)[1].tolist() == [256] * 16


def test_values_on_a_gpu_are_not_split():
    with FakeTensorMode():
        large = torch.empty(64, 16, 28, 28)
        assert len(chunks(large)) > 1
        on_gpu = torch.empty(64, 16, 28, 28, device="cuda")
        assert [chunk is on_gpu for chunk in chunks(on_gpu)] == [True]


def test_a_derivative_does_not_start_cuda(monkeypatch):
    forked, real = [], torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: forked.append(devices) or real(devices))
    state = torch.get_rng_state()
    derivative(torch.nn.RReLU(), np.linspace(-1, 1, 5, dtype=np.float32)[:, None])
    assert forked == [[]]
    assert torch.equal(state, torch.get_rng_state())


def test_a_sample_is_a_copy():
    values = torch.zeros(4, 4)
    sample = Sampler(100, seed=0)(values)
    values += 1
    assert not sample.any()


@needs_data
@pytest.mark.parametrize(
    ("choice", "bound"), [("default", 0.03), ("full", 0.02)], ids=["16,384 values", "32,768 values"]
)
def test_sampled_histograms_are_close_to_the_full_ones(choice, bound):
    """Largest difference between the two cumulative distributions, on a real network and real images."""
    from normexp.models.layer import named_layers
    from normexp.training.build import build

    config = compose("data=mnist", f"data_dir={SHARED_DATA}", f"probe={choice}", "batch_size=128")
    parts, full = build(config), {}
    for name, layer in named_layers(parts.model).items():
        if hasattr(layer, "activation"):
            layer.activation.register_forward_pre_hook(lambda _, args, name=name: full.update({name: args[0].detach()}))
    parts.model.train()(parts.data.train.batch(torch.arange(128))[0])
    for name, values in full.items():
        sample = Sampler(config.probe.samples, seed=0)(values)
        assert sample.numel() <= config.probe.samples < values.numel(), name
        distance = stats.ks_2samp(sample.flatten().numpy(), values.flatten().numpy()).statistic
        assert distance < bound, name
