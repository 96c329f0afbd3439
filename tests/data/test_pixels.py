"""Standardization of each pixel: fitted on the training images only, against plain NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from normexp.data import DATA, splits
from normexp.data.pixels import pixel_moments, pixel_scales
from normexp.data.splits import load, split_indices
from tests.conftest import SHARED_DATA, compose, needs_data

CPU = torch.device("cpu")
PIXEL = "data.inputs=standardize_pixel"


@pytest.mark.parametrize("shape", [(3000, 1, 28, 28), (7, 3, 5, 4), (1, 1, 2, 2)])
def test_moments_are_exact(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    mean, variance = pixel_moments(images)
    np.testing.assert_allclose(mean, images.mean(0), rtol=1e-14)
    np.testing.assert_allclose(variance, images.astype(float).var(0), rtol=1e-12, atol=1e-9)
    assert np.array_equal(variance, pixel_moments(images[::-1])[1])


LONG = [needs_data, pytest.mark.long]
DATA_SETS = ["digits", pytest.param("mnist", marks=LONG), pytest.param("cifar10", marks=LONG)]


@pytest.mark.parametrize("data", DATA_SETS)
@pytest.mark.parametrize("eps", [0.1, 0.001])
def test_inputs_are_standardized_by_the_training_images(data, eps):
    unverified = ["data.verify=false"] if data == "cifar10" else []  # shared/data holds a re-packed copy
    sizes = ["data.train_size=1000", "data.test_size=200", f"data_dir={SHARED_DATA}"]
    config = compose(f"data={data}", PIXEL, f"data.zca_eps={eps}", *sizes, *unverified)
    parts = load(config, CPU)
    images = parts.train.images.double().numpy()
    mean, variance = images.mean(0), images.var(0)
    for part in (parts.train, parts.val, parts.test):
        inputs = torch.cat([batch for batch, _ in part.batches(500)])
        assert inputs.dtype == torch.float32
        expected = (part.images.double().numpy() - mean) / np.sqrt(variance + eps * variance.mean())
        np.testing.assert_allclose(inputs.numpy(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(part.batch(torch.arange(50))[0], inputs[:50], rtol=0, atol=0)
    inputs = torch.cat([batch for batch, _ in parts.train.batches(500)]).double()
    assert inputs.mean(0).abs().max() < 1e-4
    high = torch.from_numpy(variance > variance.mean())
    shrunk = 1 / (1 + eps)  # at most this much is lost where the variance is above its mean
    assert ((inputs.var(0, correction=0)[high] > shrunk - 1e-4) & (inputs.var(0, correction=0)[high] < 1)).all()


def test_it_is_fitted_on_the_training_samples_only():
    config = compose(PIXEL)
    arrays = DATA["digits"].load(config.data, SHARED_DATA)
    train, _ = split_indices(arrays.train_labels, config)
    others = np.setdiff1d(np.arange(len(arrays.train_labels)), train)
    images = arrays.train_images.copy()
    images[others] = 16 - images[others]
    one = splits.split(arrays, config, CPU).train
    two = splits.split(replace(arrays, train_images=images, test_images=arrays.test_images[::-1]), config, CPU).train
    assert torch.equal(one.std, two.std) and torch.equal(one.mean, two.mean)
    assert one.std.shape == one.mean.shape == (1, 1, 8, 8)
    images[train[0]] = 16 - images[train[0]]
    assert not torch.equal(one.std, splits.split(replace(arrays, train_images=images), config, CPU).train.std)


def test_constant_pixels_become_0():
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 5, 5), dtype=np.uint8)
    images[:, 0, 2, 2] = 7
    mean, scale = pixel_scales(images, eps=0.01)
    average = images.astype(float).var(0).mean()
    assert mean[0, 2, 2] == 7 and scale[0, 2, 2] == pytest.approx((0.01 * average) ** 0.5)
    mean, scale = pixel_scales(np.full((9, 3, 2, 2), 5, dtype=np.uint8), eps=0.01)
    assert (mean == 5).all() and (scale == 1).all()


def test_it_is_the_diagonal_of_whitening():
    """If the pixels don't correlate, both preprocessings are the same."""
    on = np.eye(6, dtype=np.uint8) * np.arange(10, 16, dtype=np.uint8)
    images = np.concatenate([on, np.zeros_like(on)]).reshape(12, 1, 2, 3)
    images = np.stack([images * a for a in (1, 2)]).reshape(24, 1, 2, 3)
    _, scale = pixel_scales(images, eps=0.1)
    covariance = np.cov(images.reshape(24, 6).T.astype(float), bias=True)
    expected = np.sqrt(np.diag(covariance) + 0.1 * np.trace(covariance) / 6)
    np.testing.assert_allclose(scale.ravel(), expected)
