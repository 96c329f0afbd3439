"""Files of data sets are checked, and safe to read whatever they contain."""

import os
import urllib.error
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from normexp.config import ConfigError
from normexp.data import DATA, download, mnist, splits
from normexp.data.base import Arrays
from tests.conftest import SHARED_DATA, compose, needs_data

CPU = torch.device("cpu")

RAW = Path("MNIST/raw")


def idx_files(folder, *, name="FashionMNIST", images=b"", labels=b""):
    """A folder in MNIST's layout with right training images, all zero, except as given."""
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        header = np.array([0x803, count, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(images or header + bytes(count * 784))
        header = np.array([0x801, count], ">i4").tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels or header + bytes(count))
    return folder


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_idx_files_are_checked(tmp_path, name):
    load, config = DATA[{"MNIST": "mnist"}.get(name, "fashion_mnist")].load, compose("data=mnist").data
    with pytest.raises(ConfigError, match="has 100 bytes, but the published file has 47,040,016"):
        load(config, idx_files(tmp_path / "short", name=name, images=bytes(100)))
    with pytest.raises(ConfigError, match=r"can't be read \(too large: 99,000,000 bytes, at most 94,080,032 exp"):
        load(config, idx_files(tmp_path / "long", name=name, images=bytes(99_000_000)))
    with pytest.raises(ConfigError, match="its header differs"):
        load(config, idx_files(tmp_path / "magic", name=name, images=bytes(47_040_016)))
    folder = idx_files(tmp_path / "labels", name=name)
    header = np.array([0x801, 60_000], ">i4").tobytes()
    (folder / name / "raw" / "train-labels-idx1-ubyte").write_bytes(header + bytes([11] * 60_000))
    with pytest.raises(
        ConfigError, match=r"differs from the published file \(md5\)" if name == "MNIST" else "label 11"
    ):
        load(config, folder)


def test_of_fashion_mnist_the_form_alone_is_checked(tmp_path):
    arrays = DATA["fashion_mnist"].load(compose("data=fashion_mnist").data, idx_files(tmp_path))
    assert arrays.train_images.shape == (60_000, 1, 28, 28)
    assert arrays.test_images.sum() == 0


def test_another_mnist_is_accepted_if_asked_for(tmp_path):
    folder = idx_files(tmp_path, name="MNIST")
    with pytest.raises(ConfigError, match=r"set data\.verify=false to use it anyway"):
        DATA["mnist"].load(compose("data=mnist").data, folder)
    arrays = DATA["mnist"].load(compose("data=mnist", "data.verify=false").data, folder)
    assert arrays.train_images.shape == (60_000, 1, 28, 28)
    with pytest.raises(ConfigError, match="differs from the published file"):  # also now that there is a cache
        DATA["mnist"].load(compose("data=mnist").data, folder)


@needs_data
@pytest.mark.parametrize("file", mnist.FILES)
def test_a_changed_pixel_or_label_of_mnist_is_noticed(file):
    RAW.mkdir(parents=True)
    for each in mnist.FILES:
        (RAW / each).symlink_to(SHARED_DATA / RAW / each)
    config = compose("data=mnist").data
    DATA["mnist"].load(config, Path())
    content = bytearray((RAW / file).read_bytes())
    content[5000] ^= 1
    (RAW / file).unlink()
    (RAW / file).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{file} differs from the published file \(md5\)"):
        DATA["mnist"].load(config, Path())


def data_files(name, folder):
    """A folder in which a file of the data set is not a regular file, or disappears after the check for it."""
    path = folder / {"mnist": "MNIST/raw/train-images-idx3-ubyte", "cifar10": "cifar-10-batches-py/data_batch_1"}[name]
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("gone", "No such file or directory"),
        ("folder", "Is a directory"),
        ("pipe", "not a regular file"),
        ("device", "not a regular file"),
        ("closed", "Permission denied"),
        ("huge", "too large: 10,000,000,000,000 bytes"),
        ("broken", "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch, name, what, says):
    """Without the check for missing files, whose result may be outdated."""
    monkeypatch.setattr(f"normexp.data.{name}.fetch", lambda *args, **kwargs: None)
    path, config = data_files(name, tmp_path), compose(f"data={name}").data  # before files can't be read
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "huge":
            path.touch()
            os.truncate(path, 10**13)
        case "closed" | "broken":
            path.touch()
            error = {"closed": PermissionError(13, "Permission denied"), "broken": OSError(5, "Input/output error")}[
                what
            ]

            def refuse(*args, **kwargs):
                raise error

            monkeypatch.setattr(
                f"normexp.rundir.safe_read.{'os.open' if what == 'closed' else 'open'}", refuse, raising=False
            )
    with pytest.raises(ConfigError) as raised:
        DATA[name].load(config, tmp_path)
    assert str(raised.value).startswith(f"{path} can't be read ({says}")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_truncated_while_it_is_read(tmp_path, monkeypatch):
    folder = idx_files(tmp_path)
    path = folder / "FashionMNIST/raw/train-images-idx3-ubyte"
    stat = os.fstat

    def cut(descriptor):
        size = stat(descriptor)
        os.truncate(path, 1000)
        return size

    monkeypatch.setattr("normexp.rundir.safe_read.os.fstat", cut)
    with pytest.raises(ConfigError, match="has 1,000 bytes, but the published file has 47,040,016"):
        DATA["fashion_mnist"].load(compose("data=fashion_mnist").data, folder)


def test_a_folder_that_may_not_be_opened_is_one_sentence(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    configs = [compose(f"data={name}").data for name in ("mnist", "cifar10")]  # before: composing needs to read
    monkeypatch.setattr(Path, "exists", refuse)
    for config in configs:
        with pytest.raises(ConfigError, match=r"can't be opened \(Permission denied\)\.$"):
            DATA[config.name].load(config, tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read"),
        (b"1,2\n3,4\n", "does not contain 1,797 digits"),
        (b"\xff" * 100, "can't be read"),
        (b"1,17\n" * 1797, "does not contain 1,797 digits"),
    ],
)
def test_damaged_digits_are_one_sentence(tmp_path, monkeypatch, content, says):
    import gzip
    import importlib.util
    from types import SimpleNamespace

    path = tmp_path / "datasets" / "data" / "digits.csv.gz"
    path.parent.mkdir(parents=True)
    if content is None:  # cut short
        path.write_bytes(gzip.compress(b"1,2\n" * 9999)[:60])
    else:
        path.write_bytes(gzip.compress(content))
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ConfigError, match=rf"digits\.csv\.gz {says}.*; reinstall scikit-learn\.$"):
        DATA["digits"].load(compose().data, tmp_path)


def fingerprint_of(*overrides, change=None):
    arrays = DATA["digits"].load(compose().data, SHARED_DATA)
    kept = {
        name: getattr(arrays, name).copy() for name in ("train_images", "train_labels", "test_images", "test_labels")
    }
    if change:
        kept[change].flat[8] ^= 1
    return splits.split(Arrays(**kept, scale=16), compose(*overrides), CPU).fingerprint


def test_the_fingerprint_is_that_of_the_data_and_of_how_it_is_split():
    same = fingerprint_of()
    assert same == fingerprint_of("data.inputs=raw", "lr=0.5")  # what is done with the data is the config's matter
    int(same, 16)
    others = [fingerprint_of(change=name) for name in ("train_images", "train_labels", "test_images", "test_labels")]
    others += [fingerprint_of("seed=1"), fingerprint_of("data.val_size=0.2"), fingerprint_of("data.train_size=1000")]
    assert len({same, *others}) == 8


@pytest.mark.parametrize("exists", [True, False])
def test_a_failed_download_says_what_is_missing_and_leaves_nothing(tmp_path, monkeypatch, exists):
    """Runs torchvision's own download, without a network."""
    import urllib.request

    def refuse(*args, **kwargs):
        raise OSError("the network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    folder = tmp_path / "data"
    if exists:
        folder.mkdir()
    for name, file in (("mnist", "train-images-idx3-ubyte"), ("cifar10", "data_batch_1")):
        with pytest.raises(ConfigError, match=rf"{file} does not exist, and downloading it failed .* data_dir"):
            DATA[name].load(compose(f"data={name}").data, folder)
        assert folder.exists() == exists
        assert not exists or not list(folder.iterdir())


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            urllib.error.URLError(OSError(-2, "Name or service not known")),
            r"\(\[Errno -2\] Name or service not known\)",
        ),
        (urllib.error.HTTPError("https://x", 404, "Not Found", Message(), None), r"\(HTTP Error 404: Not Found\)"),
        (TimeoutError(), r"\(TimeoutError\)"),
    ],
)
def test_a_failed_download_gives_the_reason(tmp_path, monkeypatch, error, says):
    def refuse(**kwargs):
        raise error

    monkeypatch.setattr(download, "import_torchvision", lambda: SimpleNamespace(CIFAR10=refuse))
    with pytest.raises(ConfigError, match=f"downloading it failed {says}. Put CIFAR10 there"):
        DATA["cifar10"].load(compose("data=cifar10").data, tmp_path)
