"""Data sets, splits and batches."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normexp.data import DATA, mnist, sizes, splits
from normexp.data.base import stratified, value_counts
from normexp.data.batches import Augment
from normexp.data.splits import Split, gather, load, moments, split_indices
from tests.conftest import SHARED_DATA, compose, needs_data

CPU = torch.device("cpu")


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    arrays = DATA["digits"].load(compose().data, SHARED_DATA)
    ours = np.concatenate([arrays.train_images, arrays.test_images]).reshape(-1, 64).tolist()
    labels = np.concatenate([arrays.train_labels, arrays.test_labels]).tolist()
    assert sorted(zip(ours, labels, strict=True)) == sorted(
        zip(bunch.data.astype(int).tolist(), bunch.target.tolist(), strict=True)
    )


@needs_data
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_files_are_read_as_torchvision_reads_them(name):
    from normexp.data.download import import_torchvision

    datasets = import_torchvision()
    config = compose(f"data={name}", *(["data.verify=false"] if name == "cifar10" else []))
    arrays = DATA[name].load(config.data, SHARED_DATA)
    if name == "mnist":
        theirs = datasets.MNIST(SHARED_DATA, train=False)
        assert np.array_equal(arrays.test_images[:, 0], theirs.data.numpy())
        assert np.array_equal(arrays.test_labels, theirs.targets.numpy())
    else:
        # torchvision would refuse this copy, whose pickles were packed anew: read one as it does.
        with (SHARED_DATA / "cifar-10-batches-py" / "data_batch_2").open("rb") as file:
            theirs = pickle.load(file, encoding="latin1")
        assert np.array_equal(arrays.train_images[10_000:20_000].reshape(-1, 3072), theirs["data"])
        assert arrays.train_labels[10_000:20_000].tolist() == theirs["labels"]
    entry = DATA[name]
    assert arrays.train_images.shape == (entry.train_samples, *entry.shape)
    assert np.bincount(arrays.test_labels).shape == (entry.classes,)


@given(st.lists(st.integers(0, 4), min_size=5, max_size=80), st.data())
def test_a_stratified_part_has_its_size_and_the_proportions(labels, data):
    labels = np.array(labels)
    size = data.draw(st.integers(0, len(labels)))
    part, rest = stratified(labels, size, np.random.default_rng(0))
    assert len(part) == size
    assert sorted([*part, *rest]) == list(range(len(labels)))
    for label in set(labels.tolist()):
        share = size * (labels == label).mean()
        assert abs((labels[part] == label).sum() - share) < 1


@pytest.mark.parametrize("overrides", [[], ["data.train_size=100"], ["data.val_size=0.3", "seed=5"]])
def test_training_validation_and_test_are_apart_and_of_the_promised_sizes(overrides):
    config = compose(*overrides)
    arrays = DATA["digits"].load(config.data, SHARED_DATA)
    train, val = split_indices(arrays.train_labels, config)
    assert set(train).isdisjoint(val)
    assert (len(train), len(val)) == (sizes(config).train, sizes(config).val)
    again, _ = split_indices(arrays.train_labels, config)
    assert np.array_equal(train, again)
    other, _ = split_indices(arrays.train_labels, compose(*[o for o in overrides if "seed" not in o], "seed=77"))
    assert not np.array_equal(train, other)


def test_the_test_set_does_not_depend_on_the_seed():
    one, two = (load(compose(f"seed={seed}"), CPU).test for seed in (0, 1))
    assert torch.equal(one.images, two.images)


def test_a_part_of_the_test_set_is_the_same_for_every_seed_and_has_all_classes():
    one, two = (load(compose("data.test_size=50", f"seed={seed}"), CPU).test for seed in (0, 1))
    assert torch.equal(one.images, two.images)
    assert sorted(set(one.labels.tolist())) == list(range(10)) and len(one) == 50
    whole = load(compose(), CPU).test.images.flatten(1).tolist()
    assert all(image in whole for image in one.images.flatten(1).tolist())


@pytest.mark.parametrize("channels", [1, 3])
def test_moments_are_exact(channels):
    images = np.random.default_rng(0).integers(0, 256, (50, channels, 7, 5), dtype=np.uint8)
    mean, std = moments(value_counts(images, 255))
    np.testing.assert_allclose(mean, images.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, images.std((0, 2, 3)), rtol=1e-12)
    assert moments(value_counts(np.full((3, 1, 2, 2), 7, dtype=np.uint8), 255))[1] == [1.0]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (7, 3, 5, 3), (3000, 2, 28, 28)])
def test_value_counts_for_any_shape(shape):
    images = np.random.default_rng(0).integers(0, 17, shape, dtype=np.uint8)
    counts = [np.bincount(images[:, c].ravel(), minlength=17) for c in range(shape[1])]
    assert np.array_equal(value_counts(images, 16), counts)


@pytest.mark.parametrize("size", [0, 1, 2999, 3000])
def test_images_are_gathered_in_chunks(size, monkeypatch):
    monkeypatch.setattr(splits, "CHUNK_BYTES", 10_000)
    images = np.random.default_rng(0).integers(0, 256, (3000, 3, 4, 4), dtype=np.uint8)
    index = np.random.default_rng(1).permutation(3000)[:size]
    assert np.array_equal(gather(images, index), images[index])


@needs_data
@pytest.mark.parametrize("overrides", [(), ("data.train_size=5000", "seed=3")])
def test_the_parts_are_the_same_from_the_cache(tmp_path, monkeypatch, overrides):
    config = compose("data=mnist", f"data_dir={SHARED_DATA}", *overrides)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    decoded = DATA["mnist"].load(config.data, SHARED_DATA)
    monkeypatch.setattr(mnist, "_values", None)
    kept = load(config, CPU)
    plain = splits.split(replace(decoded, counts=None), config, CPU)
    train, _ = split_indices(decoded.train_labels, config)
    images = decoded.train_images[train]
    counts = np.bincount(images.ravel(), minlength=256)
    for each in (kept, plain):
        assert each.fingerprint == kept.fingerprint
        assert np.array_equal(each.train.images, images)
        assert np.array_equal(each.test.images, decoded.test_images)
        mean, std = moments(counts[None])
        assert (each.train.mean.item(), each.train.std.item()) == (np.float32(mean[0]), np.float32(std[0]))


def test_standardized_inputs_have_mean_0_and_variance_1_on_the_training_data_only():
    splits = load(compose(), CPU)
    inputs, _ = splits.train.batch(torch.arange(len(splits.train)))
    assert inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert inputs.var(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert splits.test.mean is splits.train.mean
    raw, _ = load(compose("data.inputs=raw"), CPU).train.batch(torch.arange(1293))
    assert (raw.min().item(), raw.max().item()) == (0, 1)


def test_batches_are_the_samples_at_the_indices_with_their_labels():
    train = load(compose(), CPU).train
    index = torch.tensor([5, 1, 900])
    inputs, labels = train.batch(index)
    torch.testing.assert_close(inputs, (train.images[index].float() - train.mean) / train.std)
    assert torch.equal(labels, train.labels[index])
    assert sum(len(labels) for _, labels in train.batches(500)) == len(train)


def split_of(images):
    return Split(images, torch.arange(len(images)), torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))


def test_crop_cuts_a_window_of_the_padded_image():
    images = torch.randint(1, 255, (64, 3, 6, 5), dtype=torch.uint8)
    augmented = Augment(crop=True, flip=False, pad=2, seed=0, device=CPU)(images)
    padded = torch.nn.functional.pad(images, [2] * 4)
    shifts = set()
    for image, result in zip(padded, augmented, strict=True):
        windows = {(y, x): image[:, y : y + 6, x : x + 5] for y in range(5) for x in range(5)}
        (shift,) = (at for at, window in windows.items() if torch.equal(window, result))
        shifts.add(shift)
    assert len(shifts) > 15  # each image has its own


def test_flip_mirrors_about_half_of_the_images_left_to_right():
    images = torch.randint(0, 255, (400, 1, 4, 4), dtype=torch.uint8)
    augmented = Augment(crop=False, flip=True, pad=2, seed=0, device=CPU)(images)
    flipped = [torch.equal(a, i.flip(2)) for a, i in zip(augmented, images, strict=True)]
    same = [torch.equal(a, i) for a, i in zip(augmented, images, strict=True)]
    assert all(f or s for f, s in zip(flipped, same, strict=True))
    assert 150 < sum(flipped) < 250


def test_augmentation_draws_anew_and_from_its_own_stream():
    images = torch.randint(0, 255, (32, 1, 8, 8), dtype=torch.uint8)
    state = torch.get_rng_state()
    augment = Augment(crop=True, flip=True, pad=2, seed=3, device=CPU)
    first, second = augment(images), augment(images)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, second)
    assert torch.equal(Augment(crop=True, flip=True, pad=2, seed=3, device=CPU)(images), first)
    assert split_of(images).batch(torch.arange(32), augment)[0].shape == images.shape
