"""data=npz: arrays of the user's own, whatever their layout and type, and one sentence for files that can't be used."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from normexp.cli import main
from normexp.config import ConfigError
from normexp.data import DATA, info, sizes
from normexp.data.splits import load, split_indices
from tests.conftest import ROOT, compose

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
IMAGES = RNG.integers(0, 256, (60, 6, 4, 3), dtype=np.uint8)
SMALL = ["batch_size=8", "model=mlp"]


def write(path="data.npz", *, test=12, x=IMAGES, y=LABELS, names=("x_train", "y_train", "x_test", "y_test"), **more):
    """A file whose last `test` samples are the test set. more: arrays to add or replace; None to leave one out."""
    arrays = {**dict(zip(names, (x[:-test], y[:-test], x[-test:], y[-test:]), strict=True)), **more}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return f"data.path={path}"


def arrays_of(path):
    config = compose("data=npz", path, *SMALL)
    return config, DATA["npz"].load(config.data, Path())


GRAY = IMAGES[..., 0]
LAYOUTS = {
    "channels last": (IMAGES, IMAGES.transpose(0, 3, 1, 2)),
    "channels first": (IMAGES.transpose(0, 3, 1, 2), IMAGES.transpose(0, 3, 1, 2)),
    "no channels": (GRAY, GRAY[:, None]),
    "int64": (IMAGES.astype(np.int64), IMAGES.transpose(0, 3, 1, 2)),
    "big-endian": (GRAY.astype(">i2"), GRAY[:, None]),
    "in Fortran's order": (np.asfortranarray(GRAY), GRAY[:, None]),
    "float64": (GRAY / 255, (GRAY / 255).astype(np.float32)[:, None]),
    "large integers": (GRAY * np.int32(1000), (GRAY * np.float32(1000))[:, None]),
    "bool": (GRAY > 99, (GRAY > 99).astype(np.uint8)[:, None]),
    "vectors": (GRAY.reshape(60, 24), GRAY.reshape(60, 24).astype(np.float32)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_types(layout):
    x, expected = LAYOUTS[layout]
    config, arrays = arrays_of(write(x=x))
    found = np.concatenate([arrays.train_images, arrays.test_images])
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    assert np.concatenate([arrays.train_labels, arrays.test_labels]).tolist() == LABELS.tolist()
    assert info(config.data).shape == expected.shape[1:]
    assert (sizes(config).train, sizes(config).val) == (43, 5)
    raw = load(compose("data=npz", "data.path=data.npz", "data.inputs=raw", *SMALL), CPU).test
    largest = {"uint8": 255, "bool": 1}.get(str(x.dtype) if layout == "bool" else str(found.dtype), 1)
    torch.testing.assert_close(next(raw.batches(12))[0], torch.from_numpy(expected[-12:] / largest).float())


def test_medmnists_names_and_columns_of_labels():
    names = ("train_images", "train_labels", "test_images", "test_labels")
    _, arrays = arrays_of(write(y=LABELS.astype(np.uint8)[:, None], names=names, val_images=IMAGES))
    assert arrays.train_images.shape == (48, 3, 6, 4)
    assert arrays.test_labels.tolist() == LABELS[-12:].tolist()


@pytest.mark.parametrize(
    ("y", "more", "names", "first"),
    [
        (LABELS, {}, ("0", "1", "2"), [0, 1, 2]),
        (LABELS * 10 - 5, {}, ("-5", "5", "15"), [0, 1, 2]),
        (np.array(["eel", "cat", "dog"])[LABELS], {}, ("cat", "dog", "eel"), [2, 0, 1]),
        (LABELS, {"class_names": np.array(["eel", "cat", "\x1b[31mdog"])}, ("eel", "cat", "?[31mdog"), [0, 1, 2]),
        (np.array(["c", "b", "a"])[LABELS], {"class_names": np.array(["b", "c", "a"])}, ("b", "c", "a"), [1, 0, 2]),
    ],
)
def test_class_names_are_kept(y, more, names, first):
    config, arrays = arrays_of(write(y=y, **more))
    assert info(config.data).class_names == names
    assert arrays.train_labels[:3].tolist() == first


@pytest.mark.parametrize(
    "x", [RNG.normal(5, 3, (60, 7)), RNG.normal(5, 3, (60, 2, 5, 3)) * [[[1], [9], [2], [4], [5]]]]
)
def test_floats_are_preprocessed_by_the_training_samples(x):
    x[:, 1] = 0.1  # constant, and no sum of binary fractions
    write(x=x)
    x = np.float32(x).astype(float)
    for inputs in ("standardize", "standardize_pixel", "zca"):
        config = compose("data=npz", "data.path=data.npz", f"data.inputs={inputs}", *SMALL)
        found, _ = next(load(config, CPU).test.batches(12))
        train, _ = split_indices(LABELS[:48], config)
        part = x[train]
        flat, eps = part.reshape(len(part), -1), 0.1
        match inputs:
            case "standardize":
                axes = (0, 2, 3)[: x.ndim - 1]
                mean, std = part.mean(axes, keepdims=True), part.std(axes, keepdims=True)
                expected = (x - mean) / np.where(std < 1e-6, 1, std)
            case "standardize_pixel":
                variance = part.var(0)
                expected = (x - part.mean(0)) / np.sqrt(variance + eps * variance.mean())
            case "zca":
                covariance = np.cov(flat.T, bias=True)
                values, vectors = np.linalg.eigh(covariance)
                whitening = vectors @ np.diag((values + eps * values.mean()) ** -0.5) @ vectors.T
                expected = ((x.reshape(60, -1) - flat.mean(0)) @ whitening).reshape(x.shape)
        np.testing.assert_allclose(found.numpy(), expected[-12:], atol=2e-5)


def test_a_run_of_vectors_learns_and_shows_the_class_names(capsys):
    x = RNG.normal(size=(300, 5)) + 4 * np.eye(5)[np.arange(300) % 3]
    path = write(x=x, y=np.array(["cat", "dog", "eel"])[np.arange(300) % 3], test=90)
    words = ["data=npz", path, "model=mlp", "model.width=16", "batch_size=16", "probe=off"]
    assert main(["describe", *words]) == 0
    assert "3 classes: cat, dog, eel" in capsys.readouterr().out
    assert main(["train", *words, "epochs=8", "name=run"]) == 0
    assert "3 classes: cat, dog, eel" in Path("runs/run/train.log").read_text()
    assert "100.00 %" in capsys.readouterr().out


def test_shapes_are_known_without_torch():
    path = write()
    code = "import sys; from normexp.cli import main; main(['describe', *sys.argv[1:]]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "data=npz", path, "batch_size=8"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert "16x6x4" in done.stdout and done.stdout.endswith("False\n")


def test_a_file_that_was_replaced_is_read_again():
    config, first = arrays_of(write())
    write(x=IMAGES[:48], y=LABELS[:48])
    assert info(config.data).train_samples == 36
    assert len(DATA["npz"].load(config.data, Path()).train_images) == 36 < len(first.train_images)


def test_a_run_resumes_with_a_file_that_was_moved_and_with_no_other_content(capfd):
    write("a.npz")
    assert main(["train", "data=npz", "data.path=a.npz", *SMALL, "steps=2", "name=run", "probe=off"]) == 0
    Path("a.npz").rename("b.npz")
    assert main(["resume", "runs/run", "steps=3"]) == 2
    assert "there is no such file. Did you mean b.npz? If it was moved, add data.path=..." in capfd.readouterr().err
    cut("cut.npz")
    assert main(["resume", "runs/run", "steps=3", "data.path=cut.npz"]) == 2
    assert "runs/run can't be resumed: cut.npz can't be read as an .npz file" in capfd.readouterr().err
    assert main(["resume", "runs/run", "steps=3", "data.path=b.npz"]) == 0
    write("b.npz", x=255 - IMAGES)
    assert main(["resume", "runs/run", "steps=4"]) == 2


def huge(path):
    """A file that claims to hold 2 TB."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**10, 6, 4)})
    arrays = {"y_train": LABELS, "x_test": IMAGES[:12, :, :, 0], "y_test": LABELS[:12]}
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x_train.npy", header.getvalue())


def cut(path):
    write(path)
    os.truncate(path, Path(path).stat().st_size // 2)


def flipped(path):
    write(path)
    content = bytearray(Path(path).read_bytes())
    content[1000] ^= 1
    Path(path).write_bytes(content)


BAD = {
    "cut": (cut, "can't be read as an .npz file"),
    "flipped": (flipped, "Bad CRC-32 for file 'x_train.npy'"),
    "text": (lambda path: Path(path).write_text("x" * 999), "can't be read as an .npz file"),
    "huge": (huge, "would take 1,788.1 GiB of memory"),
    "missing": (lambda path: write(path, x_test=None), "has no array x_test; it has x_train, y_train, y_test"),
    "objects": (lambda path: write(path, x_train=np.array([{}] * 48)), "x_train of .* holds Python objects"),
    "objects as labels": (lambda path: write(path, y_test=np.array([[]] * 11 + [{}], dtype=object)), "Python objects"),
    "complex": (lambda path: write(path, x=GRAY * 1j), "has the type complex128"),
    "scalars": (lambda path: write(path, x=GRAY[:, 0, 0]), "images are N,H,W or"),
    "many channels": (lambda path: write(path, x=np.zeros((60, 7, 7, 7))), "at most 4 channels"),
    "other shape": (lambda path: write(path, x_test=IMAGES[:12, 1:]), "samples of shape 3x5x4, but x_train has 3x6x4"),
    "bytes and floats": (
        lambda path: write(path, x_test=IMAGES[:12] / 255),
        "x_test of data.npz has floats, but x_train has",
    ),
    "few labels": (lambda path: write(path, y_train=LABELS[:47]), "47 labels for 48 samples"),
    "one-hot": (
        lambda path: write(path, y=np.eye(3)[LABELS]),
        r"labels must be N integers or strings. y.argmax\(1\) conv",
    ),
    "float labels": (lambda path: write(path, y=LABELS / 1), r"integers or strings. y.astype\(int\) converts"),
    "one class": (lambda path: write(path, y=LABELS * 0), "at least 2 classes"),
    "new class": (lambda path: write(path, y_test=LABELS[:12] + 1), "a class without training samples: 3"),
    "class without samples": (
        lambda path: write(path, class_names=np.array(list("abcd"))),
        "of 1 of the 4 class_names",
    ),
    "class without a name": (lambda path: write(path, class_names=np.array(["a", "b"])), "has the label 2"),
    "nan": (lambda path: write(path, x=np.where(GRAY == 7, np.nan, GRAY)), "not finite"),
    "folder": (lambda path: Path(path).mkdir(), "is not a regular file"),
    "pipe": (os.mkfifo, "is not a regular file"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_files_are_one_sentence(what):
    write()
    config = compose("data=npz", "data.path=data.npz", *SMALL).data
    Path("data.npz").unlink()
    make, says = BAD[what]
    make("data.npz")
    with pytest.raises(ConfigError, match=says) as raised:
        DATA["npz"].load(config, Path())
    assert str(raised.value).isprintable() and len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "data=npz needs data.path=FILE"),
        (["data.path=data.npz"], "model=cnn needs images, but data=npz has vectors of 5000 values"),
        (["data.path=data.npz", "model=mlp", "data.val_size=0.2"], "has values that are not finite"),
        (["data.path=dat.npz"], "there is no such file. Did you mean data.npz?"),
        (["data.path=data.npz", "data.augment=[crop]", "model=mlp"], "data=npz has vectors"),
        (["data.path=data.npz", "data.inputs=zca", "model=mlp"], "values of a sample; at most 4,096"),
        (["data.path=data.npz", "data.test_size=13", "model=mlp"], "npz has 12 test samples"),
    ],
)
def test_bad_overrides_are_one_sentence(words, says, capfd):
    write(x=np.full((60, 5000), np.nan))
    assert main(["train", "data=npz", "batch_size=8", *words]) == 2
    assert says in capfd.readouterr().err.replace("\n", " ")
    assert not Path("runs").exists()
