"""CIFAR's files are pickles: read by an interpreter of our own, safe whatever they contain."""

import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from normexp.config import ConfigError
from normexp.data import DATA
from tests.conftest import compose
from tests.data.hostile import PICKLES, Calls


def cifar_files(folder, content):
    root = folder / "cifar-10-batches-py"
    root.mkdir(parents=True)
    first, *others = (root / name for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"])
    first.write_bytes(content)
    for path in others:
        path.hardlink_to(first)
    return folder


PIXELS = np.arange(10_000 * 3072, dtype=np.uint32).astype(np.uint8).reshape(10_000, 3072)
GOOD = {"data": PIXELS, "labels": [3] * 10_000}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({"data": Calls(print, "executed"), "labels": []}), r"builtins\.print"),
        (pickle.dumps({"data": np.zeros((10_000, 3072), np.uint8), "labels": [10] * 10_000}, 2), "labels 0 to 9"),
        (pickle.dumps({"data": np.zeros((10, 3072), np.uint8), "labels": [0] * 10}, 2), "expected 10,000 images"),
        (pickle.dumps({"labels": [0] * 10}), "is not a CIFAR-10 batch"),
        (pickle.dumps([1]), "is not a CIFAR-10 batch"),
        (b"", "is not a CIFAR-10 batch"),
        (b"\x80\x04\x95garbage", "is not a CIFAR-10 batch"),
    ],
    ids=["payload", "labels", "few", "no data", "list", "empty", "garbage"],
)
def test_cifar_pickles_can_hold_arrays_and_nothing_else(tmp_path, content, says, capsys):
    config = compose("data=cifar10", "data.verify=false").data
    with pytest.raises(ConfigError, match=says):
        DATA["cifar10"].load(config, cifar_files(tmp_path, content))
    assert "executed" not in capsys.readouterr().out


def test_cifar_files_that_differ_from_the_published_ones_need_a_word(tmp_path):
    good = pickle.dumps({"data": np.zeros((10_000, 3072), np.uint8), "labels": [3] * 10_000}, 2)
    folder = cifar_files(tmp_path, good)
    with pytest.raises(ConfigError, match=r"data\.verify=false"):
        DATA["cifar10"].load(compose("data=cifar10").data, folder)
    arrays = DATA["cifar10"].load(compose("data=cifar10", "data.verify=false").data, folder)
    assert arrays.train_images.shape == (50_000, 3, 32, 32)
    with pytest.raises(ConfigError, match=r"data\.verify=false"):  # also now that there is a cache
        DATA["cifar10"].load(compose("data=cifar10").data, folder)


@pytest.mark.parametrize("protocol", [2, *(pytest.param(n, marks=pytest.mark.long) for n in (3, 4))])
@pytest.mark.long
def test_what_any_python_packs_is_read(tmp_path, protocol):
    folder = cifar_files(tmp_path, pickle.dumps({"batch_label": "one", **GOOD, "filenames": ["a.png"] * 3}, protocol))
    arrays = DATA["cifar10"].load(compose("data=cifar10", "data.verify=false").data, folder)
    assert np.array_equal(arrays.test_images.reshape(-1, 3072), PIXELS)
    assert set(arrays.test_labels.tolist()) == {3}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (i % 4 > 0)) for i, name in enumerate(PICKLES)]
)
def test_hostile_pickles_do_nothing(name):
    """Nothing is executed or written, and time and memory stay bounded; the message says that the file is damaged."""
    folder = cifar_files(Path("data"), PICKLES[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError) as raised:
        DATA["cifar10"].load(compose("data=cifar10", "data.verify=false").data, folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB
    assert [path.name for path in Path().iterdir()] == ["data"]
    sentence = str(raised.value)
    assert "data_batch_1" in sentence and sentence.isprintable() and len(sentence) < 250
