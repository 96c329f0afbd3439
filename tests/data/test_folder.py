"""data=folder: image files in one folder per class."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from normexp.cli import main
from normexp.config import ConfigError
from normexp.data import DATA, folder, info, sizes, splits
from tests.conftest import compose

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
SMALL = ["batch_size=8"]


@pytest.fixture(autouse=True)
def _settled(monkeypatch):
    """Cache files that were written just now."""
    monkeypatch.setattr(folder, "SETTLED", 0.0)


def save(path, values):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def opened(path):
    """Values (3, H, W) of a picture."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def make(root="pictures", *, split=True, count=10, classes=("cat", "Dog", "eel"), size=(6, 9)):
    """A folder with `count` images of each class, in files of several formats, and other files that are none."""
    for part in ("train", "test") if split else ("",):
        for c in classes:
            for i in range(count):
                name = f"{i:03}.{('png', 'bmp', 'PPM', 'gif')[i % 4]}"
                save(
                    Path(root, part, c, "deeper" * (i % 5 == 4), name), RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
                )
            Path(root, part, c, "notes.txt").write_text("no image")
            Path(root, part, c, ".hidden.png").write_text("no image")
    Path(root, ".thumbnails").mkdir(exist_ok=True)
    return root


def load(root="pictures", *words):
    config = compose("data=folder", f"data.path={root}", *words, *SMALL)
    return config, DATA["folder"].load(config.data, Path("data"))


def test_images_and_labels_are_those_of_the_files():
    config, arrays = load(make())
    names = info(config.data).class_names
    assert names == ("Dog", "cat", "eel")  # as sorted() in torchvision's ImageFolder
    for part, images, labels in (
        ("train", arrays.train_images, arrays.train_labels),
        ("test", arrays.test_images, arrays.test_labels),
    ):
        files = [path for path in Path("pictures", part).rglob("[0-9]*") if path.is_file()]
        pixels = [opened(path).tobytes() for path in files]
        expected = sorted(zip(pixels, [path.parts[2] for path in files], strict=True))
        found = [(image.tobytes(), names[label]) for image, label in zip(images, labels, strict=True)]
        assert len(found) == 30 and sorted(found) == expected
    assert info(config.data).shape == arrays.train_images.shape[1:] == (3, 6, 9)
    assert (sizes(config).train, sizes(config).val, len(arrays.test_labels)) == (27, 3, 30)


def test_a_test_set_is_split_off_by_a_seed_of_its_own():
    make(split=False)
    _, arrays = load()
    assert np.bincount(arrays.test_labels).tolist() == [2, 2, 2]
    together = {image.tobytes() for part in (arrays.train_images, arrays.test_images) for image in part}
    assert len(together) == 30
    _, other = load("pictures", "data.split_seed=1")
    assert not np.array_equal(other.test_images, arrays.test_images)
    config, larger = load("pictures", "data.test_size=15")
    assert np.bincount(larger.test_labels).tolist() == [5, 5, 5]
    assert info(config.data).train_samples == len(larger.train_labels) == 15
    one, two = (
        splits.load(compose("data=folder", "data.path=pictures", f"seed={s}", *SMALL), CPU).test for s in (0, 1)
    )
    assert torch.equal(one.images, two.images)  # the same for all runs


def test_images_are_resized_and_cropped_around_the_center():
    picture = np.zeros((20, 60, 3), dtype=np.uint8)
    picture[:, 20:40] = 200
    for c in "ab":
        for i in range(14):
            save(f"pictures/{c}/{i}.png", picture)
    _, arrays = load("pictures", "data.size=5")
    assert arrays.train_images.shape[1:] == (3, 5, 5)
    assert (abs(arrays.train_images[..., 1:4].astype(int) - 200) <= 5).all()
    _, gray = load("pictures", "data.size=5", "data.color=gray")
    assert gray.train_images.shape[1:] == (1, 5, 5)


def test_every_kind_of_pixel():
    """16 bits, palettes, transparency, black and white."""
    deep = np.full((4, 4), 51 * 257, dtype=np.uint16)  # 51 of 255
    red = Image.new("P", (4, 4), 0)
    red.putpalette([10, 20, 30] * 256)
    Path("pictures/b").mkdir(parents=True)
    for c in "ab":
        for i in range(8):
            save(f"pictures/{c}/0{i}.png", deep)
    for i in range(2):
        red.save(f"pictures/b/{10 + i}.png", transparency=b"\x00" * 256)
        Image.new("1", (4, 4), 1).save(f"pictures/b/{20 + i}.png")
        Image.new("CMYK", (4, 4)).save(f"pictures/b/{30 + i}.tif")
    config, arrays = load()
    assert info(config.data).shape == (1, 4, 4)  # like the first one
    found = np.concatenate([arrays.train_images, arrays.test_images])
    assert sorted(found[:, 0, 0, 0].tolist()) == [18] * 2 + [51] * 16 + [255] * 4
    _, colors = load("pictures", "data.color=rgb")
    found = np.concatenate([colors.train_images, colors.test_images])
    assert sorted(map(tuple, found[:, :, 0, 0].tolist()))[:2] == [(10, 20, 30)] * 2


def test_more_classes_than_fit_into_a_byte_survive_the_cache():
    make(classes=[f"{i:03}" for i in range(300)], count=1, size=(1, 1))
    words = ["data=folder", "data.path=pictures", "data.val_size=0.01"]
    config = compose(*words)
    for _ in range(2):
        arrays = DATA["folder"].load(config.data, Path("data"))
        assert arrays.train_labels.tolist() == arrays.test_labels.tolist() == list(range(300))


def test_the_cache_is_used_until_a_file_changes(monkeypatch):
    _, first = load(make())
    before = {path: path.stat().st_mtime_ns for path in Path("pictures").rglob("*")}

    def refuse(*args, **kwargs):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(folder, "decode", refuse)
        _, second = load()
        assert np.array_equal(first.train_images, second.train_images)
        assert np.array_equal(first.test_labels, second.test_labels)
    assert before == {path: path.stat().st_mtime_ns for path in Path("pictures").rglob("*")}  # nothing is written there
    file = Path("pictures/train/Dog/001.bmp")
    image = opened(file)
    save(file, 255 - image.transpose(1, 2, 0))  # as many bytes as before
    os.utime(file, ns=(0, before[file] + 1))
    _, third = load()
    assert np.array_equal(third.train_images[1], 255 - image)
    file.unlink()
    config, fourth = load()
    assert len(fourth.train_labels) == info(config.data).train_samples == 29


def bomb(path):
    """A png file whose header claims 3.6 billion pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc)


def test_damaged_files_are_listed_and_left_out(monkeypatch, capfd):
    make(count=140)
    broken = {
        "train/cat/000.png": lambda p: os.truncate(p, 100),
        "train/cat/004.png": lambda p: p.write_text("no image"),
        "train/eel/008.png": bomb,
        "train/eel/007.gif": lambda p: p.write_bytes(b""),
        "test/cat/001.bmp": lambda p: (p.unlink(), p.symlink_to("/dev/zero")),  # not even a file: not counted
        "test/cat/000.png": lambda p: (p.unlink(), p.write_bytes(b"\x89PNG\r\n\x1a\n" * 9)),
    }
    for name, damage in broken.items():
        path = Path("pictures", name)
        damage(next(Path("pictures", *name.split("/")[:2]).rglob(path.name)))
    for _ in range(2):  # decoded, and from the cache
        _, arrays = load()
        assert np.bincount(arrays.train_labels).tolist() == [140, 138, 138]
        assert np.bincount(arrays.test_labels).tolist() == [140, 138, 140]
        note = capfd.readouterr().err
        assert "note: 5 of 839 images are left out, since they can't be read: train/cat/000.png" in note
        assert note.count("\n") <= 2
    assert sum(len(part) for part in (arrays.train_images, arrays.test_images)) == 834
    whole = splits.load(compose("data=folder", "data.path=pictures", "data.train_size=378", *SMALL), CPU)
    assert len(whole.train) + len(whole.val) == 416  # as many as are left
    whole = compose("data=folder", "data.path=pictures", "batch_size=378")  # as many as would be left of all
    with pytest.raises(ConfigError, match="batch_size=378: only 374 training samples can be read"):
        splits.load(whole, CPU)
    monkeypatch.setattr(folder, "MAX_DAMAGED_SHARE", 0.005)
    Path("pictures/train/eel/one more.bmp").touch()
    with pytest.raises(
        ConfigError, match=r"6 of the 840 images in pictures can't be read \(train/cat/000.png: .*3 more\)"
    ):
        load()


def grow(root):
    for c in "ab":
        save(f"{root}/{c}/0.png", np.zeros((600, 700), dtype=np.uint8))


def garbage(root):
    for c in "ab":
        Path(root, c).mkdir(parents=True)
        Path(root, c, "x.png").write_text("no image")


BAD = {
    "empty": (lambda root: Path(root).mkdir(), "has no folders: each class needs a folder"),
    "no images": (lambda root: Path(root, "cat").mkdir(parents=True), "pictures/cat has no images"),
    "one class": (lambda root: make(root, split=False, classes=["cat"]), "only the class cat: at least 2"),
    "no test": (
        lambda root: (make(f"{root}/train", split=False), make(f"{root}/val", split=False)),
        "no folder test. Rename val to test, or use data.path=pictures/train",
    ),
    "splits of other names": (
        lambda root: (
            make(root),
            *(Path(root, name).rename(f"{root}/{name.title()}") for name in ("train", "test")),
        ),
        "has the folders Test, Train: the parts of the data must be in folders named train and test",
    ),
    "one level too high": (lambda root: make(f"{root}/data", split=False), "Did you mean data.path=pictures/data?"),
    "new class": (
        lambda root: (make(root), save(f"{root}/test/\x1b[31mfox/0.png", np.zeros((2, 2), np.uint8))),
        r"pictures/test has a class without training samples: \?\[31mfox",
    ),
    "garbage": (garbage, r"The first 2 images in pictures can't be read \(pictures/a/x.png: not an image\)"),
    "photos": (grow, "have 700x600 pixels: set the size to which they are resized"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_folders_are_one_sentence(what):
    prepare, says = BAD[what]
    prepare("pictures")
    with pytest.raises(ConfigError, match=says) as raised:
        load()
    assert str(raised.value).isprintable() and not Path("data").exists()


def test_a_folder_that_may_not_be_opened_is_one_sentence(monkeypatch):
    config = compose("data=folder", f"data.path={make()}", *SMALL).data

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    for call in (info, lambda config: DATA["folder"].load(config, Path("data"))):
        with pytest.raises(ConfigError, match=r"pictures can't be read \(Permission denied\)"):
            call(config)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "data=folder needs data.path=DIR"),
        (["data.path=picture"], "there is no such folder. Did you mean pictures?"),
        (["data.path=pictures/cat/000.png"], "is not a folder"),
        (["data.path=pictures", "data.size=0"], "data.size must be an integer >= 1"),
        (["data.path=pictures", "data.test_size=30"], "no training images are left"),
        (
            ["data.path=pictures", "data.size=1000", "data.inputs=zca"],
            "data.inputs=zca: whitening needs the covariance",
        ),
    ],
)
def test_bad_overrides_are_one_sentence(words, says, capfd):
    make(split=False)
    assert main(["train", "data=folder", *SMALL, *words]) == 2
    assert says in capfd.readouterr().err.replace("\n", " ")
    assert sorted(path.name for path in Path().iterdir()) == ["pictures"]


def test_too_much_for_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr("normexp.data.paths.MAX_BYTES", 10_000)
    make()
    with pytest.raises(ConfigError, match=r"GiB of memory; .* Use a smaller data.size than 20"):
        load("pictures", "data.size=20")


def test_a_run_and_its_plan(capfd):
    make(count=20)
    words = ["data=folder", "data.path=pictures", "data.augment=[crop,flip]", "model.channels=[4]", *SMALL]
    assert main(["train", *words, "--dry-run"]) == 0
    out = capfd.readouterr().out
    assert "folder: 54 training, 6 validation, 60 test samples" in out and "3 classes: Dog, cat, eel" in out
    assert main(["train", *words, "steps=2", "probe=off", "name=run"]) == 0
    assert main(["resume", "runs/run", "steps=3"]) == 0
