"""ZCA whitening: fitted on the training images only, exact and deterministic."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from normexp.data import DATA, splits
from normexp.data.batches import Augment
from normexp.data.splits import load, split_indices
from normexp.data.zca import moments, zca
from tests.conftest import SHARED_DATA, compose, needs_data

CPU = torch.device("cpu")
ZCA = "data.inputs=zca"


@pytest.mark.parametrize(("samples", "values", "scale"), [(3000, 6, 255), (5, 40, 255), (1, 3, 16), (700, 9, 1)])
def test_moments_are_exact(samples, values, scale):
    images = np.random.default_rng(0).integers(0, scale + 1, (samples, values), dtype=np.uint8)
    mean, covariance = moments(images, scale)
    np.testing.assert_allclose(mean, images.mean(0), rtol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(images.T.astype(float), bias=True), rtol=1e-12, atol=1e-9)
    assert np.array_equal(covariance, moments(images[::-1], scale)[1])


@pytest.mark.parametrize("data", ["digits", pytest.param("mnist", marks=needs_data)])
def test_training_inputs_are_white_in_all_directions_with_variance(data):
    config = compose(f"data={data}", ZCA, "data.zca_eps=0.001", "data.train_size=1000", f"data_dir={SHARED_DATA}")
    splits = load(config, CPU)
    inputs = torch.cat([batch for batch, _ in splits.train.batches(500)]).flatten(1).double()
    assert inputs.mean(0).abs().max() < 1e-3
    raw = splits.train.images.flatten(1).double()
    raw -= raw.mean(0)
    variances, directions = np.linalg.eigh((raw.T @ raw / len(raw)).numpy())
    whitened = (inputs - inputs.mean(0)) @ torch.from_numpy(directions)
    found = (whitened.T @ whitened / len(raw)).numpy()
    expected = variances / (variances + 0.001 * variances.mean())
    np.testing.assert_allclose(found, np.diag(expected), atol=1e-3)
    high = expected > 0.99  # a tenth of the mean variance or more
    assert high.sum() > 30
    assert not torch.equal(inputs[0], raw[0])
    similar = [np.corrcoef(raw[i], inputs[i])[0, 1] for i in range(100)]
    assert np.mean(similar) > 0.3  # it still looks like the image
    matrix = splits.train.whitening
    assert matrix.dtype == torch.float32 and torch.equal(matrix, matrix.T)
    assert splits.test.whitening is splits.val.whitening is matrix


@pytest.mark.parametrize("overrides", [(), ("data.train_size=40", "batch_size=20")])
def test_it_is_fitted_on_the_training_samples_only(overrides):
    config = compose(ZCA, *overrides)
    arrays = DATA["digits"].load(config.data, SHARED_DATA)
    train, _ = split_indices(arrays.train_labels, config)
    others = np.setdiff1d(np.arange(len(arrays.train_labels)), train)
    images = arrays.train_images.copy()
    images[others] = 16 - images[others]
    one = splits.split(arrays, config, CPU).train
    two = splits.split(replace(arrays, train_images=images, test_images=arrays.test_images[::-1]), config, CPU).train
    assert torch.equal(one.whitening, two.whitening) and torch.equal(one.mean, two.mean)
    images[train[0]] = 16 - images[train[0]]
    assert not torch.equal(
        one.whitening, splits.split(replace(arrays, train_images=images), config, CPU).train.whitening
    )


def test_pixels_without_variance_do_not_explode():
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 5, 5), dtype=np.uint8)
    images[:, 0, 2, 2] = 7
    mean, matrix = zca(images, 255, eps=0.01)
    average = images.reshape(20, -1).astype(float).var(0).mean()
    assert mean[0, 2, 2] == 7
    assert np.linalg.eigvalsh(matrix).max() == pytest.approx((0.01 * average) ** -0.5)
    for constant in (images[:1], np.zeros((9, 1, 5, 5), dtype=np.uint8)):
        mean, matrix = zca(constant, 255, eps=0.01)
        np.testing.assert_allclose(matrix, np.eye(25), atol=1e-12)
        np.testing.assert_array_equal(mean, constant[0])


def test_inputs_are_the_same_on_every_call_and_however_the_network_computes():
    train = load(compose(ZCA), CPU).train
    index = torch.arange(64)
    first, _ = train.batch(index)
    centered = train.images[index].double() - train.mean.double()
    torch.testing.assert_close(
        first, (centered.flatten(1) @ train.whitening.double()).float().view_as(first), atol=1e-4, rtol=1e-4
    )
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(train.batch(index)[0], first)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(load(compose(ZCA), CPU).train.batch(index)[0], first)


def test_augmentation_comes_first():
    train = load(compose(ZCA), CPU).train
    index = torch.arange(32)
    inputs, _ = train.batch(index, Augment(crop=True, flip=True, pad=1, seed=4, device=CPU))
    images = Augment(crop=True, flip=True, pad=1, seed=4, device=CPU)(train.images[index])
    expected = (images - train.mean).flatten(1) @ train.whitening
    assert torch.equal(inputs, expected.view(inputs.shape))


def test_other_inputs_are_not_whitened():
    for inputs in ("raw", "standardize"):
        assert load(compose(f"data.inputs={inputs}"), CPU).train.whitening is None
