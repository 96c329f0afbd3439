"""CIFAR-100, SVHN, Kuzushiji-MNIST and EMNIST: small files in the published formats are read as torchvision reads them."""

import hashlib
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from normexp.config import ConfigError
from normexp.data import DATA, cifar10, cifar100, download, emnist, info, mnist, svhn
from tests.conftest import compose

RNG = np.random.default_rng(0)
COUNTS = (40, 20)  # training and test images


def idx(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = np.array([0x0800 + values.ndim, *values.shape], dtype=">i4").tobytes()
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def idx_files(raw, *names, first=0, classes=10):
    for name, count in zip(names, COUNTS, strict=True):
        idx(raw / f"{name}-images-idx3-ubyte", RNG.integers(0, 256, (count, 28, 28)))
        idx(raw / f"{name}-labels-idx1-ubyte", first + np.arange(count) % classes)


def both(arrays):
    return ((arrays.train_images, arrays.train_labels), (arrays.test_images, arrays.test_labels))


def test_kmnist(monkeypatch):
    names = dict(zip(mnist.FILES, ((40, 28, 28), (40,), (20, 28, 28), (20,)), strict=True))
    monkeypatch.setattr(mnist, "FILES", {name: (shape, None) for name, shape in names.items()})
    idx_files(Path("KMNIST/raw"), "train", "t10k")
    datasets = download.import_torchvision()
    config = compose("data=kmnist").data
    for train, (images, labels) in zip((True, False), both(DATA["kmnist"].load(config, Path())), strict=True):
        theirs = datasets.KMNIST(".", train=train)
        assert np.array_equal(images[:, 0], theirs.data.numpy()) and np.array_equal(labels, theirs.targets.numpy())
    assert list(info(config).class_names) == datasets.KMNIST.classes


@pytest.mark.parametrize("split", ["balanced", "letters", "digits"])
def test_emnist(split, monkeypatch):
    _, _, first, names = emnist.SPLITS[split]
    monkeypatch.setitem(emnist.SPLITS, split, (*COUNTS, first, names))
    prefixes = [f"emnist-{split}-{part}" for part in ("train", "test")]
    idx_files(Path("EMNIST/raw"), *prefixes, first=first, classes=min(len(names), 20))
    datasets = download.import_torchvision()
    config = compose("data=emnist", f"data.split={split}", "batch_size=8").data
    for train, (images, labels) in zip((True, False), both(DATA["emnist"].load(config, Path())), strict=True):
        theirs = datasets.EMNIST(".", split=split, train=train)
        assert np.array_equal(images[:, 0].swapaxes(1, 2), theirs.data.numpy())  # ours are upright
        assert np.array_equal(labels + first, theirs.targets.numpy())
        assert [names[label] for label in labels] == [theirs.classes[target] for target in theirs.targets]
    labels = Path(f"EMNIST/raw/{prefixes[0]}-labels-idx1-ubyte")
    idx(labels, np.full(40, first + len(names)))
    with pytest.raises(ConfigError, match=f"has the label {first + len(names)}, but labels are {first} to"):
        DATA["emnist"].load(config, Path())


def test_checksums_are_those_of_torchvision():
    datasets = download.import_torchvision()
    assert dict([*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list]) == cifar10.MD5
    listed = dict([*datasets.CIFAR100.train_list, *datasets.CIFAR100.test_list])
    assert listed == {name: md5 for name, (_, md5) in cifar100.FILES.items()}
    splits = {name: md5 for split, (_, name, md5) in datasets.SVHN.split_list.items() if split != "extra"}
    assert splits == {name: md5 for name, (_, md5) in svhn.FILES.items()}


@pytest.fixture
def cifar(monkeypatch):
    """Small files of CIFAR-100, with their md5 in both lists."""
    files, content = {}, {}
    for (name, _), count in zip(cifar100.FILES.items(), COUNTS, strict=True):
        content[name] = {
            "filenames": [f"{i}.png" for i in range(count)],
            "fine_labels": [(37 * i) % 100 for i in range(count)],
            "coarse_labels": [3] * count,
            "data": RNG.integers(0, 256, (count, 3072), dtype=np.uint8),
        }
        path = Path("cifar-100-python", name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(content[name], protocol=2))
        files[name] = (count, hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(cifar100, "FILES", files)
    return content


def test_cifar100(cifar):
    arrays = DATA["cifar100"].load(compose("data=cifar100").data, Path())
    for (images, labels), content in zip(both(arrays), cifar.values(), strict=True):
        assert np.array_equal(images.reshape(-1, 3072), content["data"]) and labels.tolist() == content["fine_labels"]
    assert info(compose("data=cifar100").data).classes == 100


def test_another_cifar100_needs_a_word(cifar):
    Path("cifar-100-python/train").write_bytes(pickle.dumps({**cifar["train"], "coarse_labels": []}, protocol=2))
    with pytest.raises(ConfigError, match=r"train differs from the published file \(md5\).*data.verify=false"):
        DATA["cifar100"].load(compose("data=cifar100").data, Path())
    DATA["cifar100"].load(compose("data=cifar100", "data.verify=false").data, Path())
    Path("cifar-100-python/train").write_bytes(pickle.dumps({**cifar["train"], "fine_labels": [100] * 40}, protocol=2))
    with pytest.raises(ConfigError, match="expected 40 images of 32x32 pixels with labels 0 to 99"):
        DATA["cifar100"].load(compose("data=cifar100", "data.verify=false").data, Path())


@pytest.fixture
def house_numbers(monkeypatch):
    """Small files of SVHN, with their md5 in both lists."""
    from scipy.io import savemat

    datasets, files, split_list = download.import_torchvision(), {}, {}
    for split, (name, count) in zip(("train", "test"), zip(svhn.FILES, COUNTS, strict=True), strict=True):
        images = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        savemat(name, {"X": images, "y": np.arange(count)[:, None] % 10 + 1}, do_compression=True)
        files[name] = (count, hashlib.md5(Path(name).read_bytes()).hexdigest())
        split_list[split] = ["", name, files[name][1]]
    monkeypatch.setattr(svhn, "FILES", files)
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)
    return datasets.SVHN


def test_svhn(house_numbers):
    arrays = DATA["svhn"].load(compose("data=svhn").data, Path())
    for split, (images, labels) in zip(("train", "test"), both(arrays), strict=True):
        theirs = house_numbers(".", split=split)
        assert np.array_equal(images, theirs.data) and np.array_equal(labels, theirs.labels)


def test_damaged_svhn_is_one_sentence(house_numbers):
    from scipy.io import savemat

    config = compose("data=svhn", "data.verify=false").data
    images = np.zeros((32, 32, 3, 20), dtype=np.uint8)
    for content, says in (
        ({"X": images, "y": np.full((20, 1), 11)}, "labels 1 to 10"),
        ({"X": images[..., :9], "y": np.ones((20, 1))}, "expected 20 images"),
        ({"X": images.astype(float), "y": np.ones((20, 1))}, "expected 20 images"),
        ({"x": images}, "expected 20 images"),
        (b"MATLAB 5.0 MAT-file" + bytes(500), "is not a MATLAB file|expected 20 images"),
        (b"", "is not a MATLAB file"),
    ):
        if isinstance(content, dict):
            savemat("test_32x32.mat", content)
        else:
            Path("test_32x32.mat").write_bytes(content)
        with pytest.raises(ConfigError, match=says):
            DATA["svhn"].load(config, Path())
    with pytest.raises(ConfigError, match="differs from the published file"):
        DATA["svhn"].load(compose("data=svhn").data, Path())


@pytest.mark.parametrize(
    ("name", "cls", "expected"),
    [
        ("kmnist", "KMNIST", [{"train": True}]),
        ("emnist", "EMNIST", [{"train": True, "split": "balanced"}]),
        ("svhn", "SVHN", [{"split": "train"}, {"split": "test"}]),
        ("cifar100", "CIFAR100", [{"train": True}]),
    ],
)
def test_missing_files_are_downloaded_by_torchvision(name, cls, expected, monkeypatch):
    calls = []

    def fetch(root, *, download, **arguments):
        calls.append(arguments)

    monkeypatch.setattr(download, "import_torchvision", lambda: SimpleNamespace(**{cls: fetch}))
    with pytest.raises(ConfigError, match="can't be read"):  # this download brings no files
        DATA[name].load(compose(f"data={name}").data, Path("new"))
    assert calls == expected
