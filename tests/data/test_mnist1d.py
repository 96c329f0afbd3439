"""MNIST-1D: generated as its paper describes (Greydanus 2020)."""

from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import interp1d

from normexp.cli import main
from normexp.config import DataConfig
from normexp.data import DATA, mnist1d
from tests.conftest import compose


@pytest.fixture(scope="module")
def arrays():
    return mnist1d.load(compose("data=mnist1d", "model=mlp").data, Path())


def resample(values, count):
    return interp1d(np.linspace(0, 1, len(values)), values)(np.linspace(0, 1, count))


@pytest.mark.parametrize("digit", range(10))
def test_signals_without_noise_follow_the_description(digit):
    rng = np.random.default_rng(digit)
    padding, shift = int(rng.integers(36, 61)), int(rng.integers(48))
    factor, slope = rng.uniform(0.8, 1.2), rng.uniform(-0.375, 0.375)
    outline = np.array(mnist1d.DIGITS[digit], dtype=float)
    outline = (outline - outline.mean()) / outline.std()
    outline = (outline - outline[0]) / 6
    expected = factor * resample(np.concatenate([outline, np.zeros(padding)]), 72)
    expected = np.concatenate([expected[72 - shift :], expected[: 72 - shift]])
    expected = resample(expected - slope * np.linspace(-0.5, 0.5, 72), 40)
    draws = mnist1d.Draws(*(np.array([value]) for value in (padding, factor, shift, slope)))
    found = mnist1d.signals(np.array([digit]), draws, np.zeros((1, 72)), np.zeros((1, 72)))
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


def test_noise_is_correlated_where_there_is_no_outline():
    draws = mnist1d.Draws(*(np.full(4000, value) for value in (60, 1.0, 0, 0.0)))
    rng = np.random.default_rng(0)
    noise, none = 0.25 * rng.standard_normal((4000, 72)), np.zeros((4000, 72))
    labels = np.zeros(4000, dtype=int)
    plain, found = (mnist1d.signals(labels, draws, correlated, none) for correlated in (none, noise))
    added = found - plain
    assert np.abs(added[:, :6]).max() == 0  # the 12 values of the outline are a sixth of the signal
    # A Gaussian of width s turns white noise into noise of variance 1 / (2 s sqrt(pi)), and of correlation exp(-d^2 / 4 s^2).
    middle = added[:, 15:30] / 0.25
    step = 71 / 39
    assert middle.std() == pytest.approx((4 * np.sqrt(np.pi)) ** -0.5, rel=0.05)
    correlation = (middle[:, 2:] * middle[:, :-2]).mean() / (middle**2).mean()
    assert correlation == pytest.approx(np.exp(-((2 * step) ** 2) / 16), abs=0.06)


def test_the_set_is_balanced_standardized_and_the_same_in_every_run(arrays):
    everything = np.concatenate([arrays.train_images, arrays.test_images])
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    assert everything.shape == (5000, 40) and np.bincount(labels).tolist() == [500] * 10
    assert everything.mean() == pytest.approx(0, abs=1e-5) and everything.std() == pytest.approx(1, abs=1e-5)
    np.random.seed(3)
    again = DATA["mnist1d"].load(compose("data=mnist1d", "model=mlp", "seed=5").data, Path())
    assert np.array_equal(again.train_images, arrays.train_images)
    assert len({row.tobytes() for row in everything}) == 5000
    assert isinstance(compose("data=mnist1d", "model=mlp").data, DataConfig)


def test_a_linear_classifier_reaches_the_papers_accuracy(arrays):
    """32 % in table 1, and two thirds for an MLP."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=200).fit(arrays.train_images, arrays.train_labels)
    assert model.score(arrays.test_images, arrays.test_labels) == pytest.approx(0.32, abs=0.04)


def test_models_for_images_are_refused(capfd):
    assert main(["describe", "data=mnist1d"]) == 2
    error = capfd.readouterr().err.replace("\n", " ")
    assert "model=cnn needs images, but data=mnist1d has vectors of 40 values. Use model=mlp, or model=rnn" in error
