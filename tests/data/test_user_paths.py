"""data.path: names that need no quotes, folders that may not be opened, classes with awkward names, and Ctrl-C."""

import _thread
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normexp.cli import main
from normexp.config import ConfigError
from normexp.data import DATA, folder, images
from normexp.data.paths import data_path
from tests.conftest import compose

RNG = np.random.default_rng(0)
AWKWARD = ["-dash", "[b]=x,y", "a'b", "big cat", "größe—猫"]


def write(path):
    x, y = RNG.normal(size=(90, 7)), np.arange(90) % 3
    with Path(path).open("wb") as file:
        np.savez(file, x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])


@pytest.mark.parametrize("name", ["größe (1).npz", "it's [1].npz", "{a}!.npz", "sp ace #1.npz", "x~.npz", "007", "1e3"])
def test_a_path_needs_no_quotes(name, capfd):
    write(name)
    assert main(["describe", "data=npz", f"data.path={name}", "model=mlp"]) == 0, capfd.readouterr().err
    assert main(["describe", "data=npz", f"data.path={name}x", "model=mlp"]) == 2
    assert f"data.path={name}x: there is no such file. Did you mean {name}?" in capfd.readouterr().err


def test_a_path_may_start_at_home_and_a_comma_stays_a_sweep(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("HOME", str(tmp_path))
    write("mine.npz")
    assert main(["describe", "data=npz", "data.path=~/mine.npz", "model=mlp"]) == 0
    assert main(["train", "data=npz", "data.path=~/mine.npz,b.npz", "model=mlp"]) == 2
    assert "quote special characters" in capfd.readouterr().err


def test_a_path_in_a_locked_folder_is_one_sentence(monkeypatch):
    stat = Path.stat

    def refuse(self, **options):
        if "locked" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    for name, is_folder in (("npz", False), ("folder", True)):
        with pytest.raises(ConfigError, match=r"^data\.path=locked/x can't be opened \(Permission denied\)\.$"):
            data_path(name, "locked/x", folder=is_folder)


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(path)


def test_classes_with_awkward_names_are_shown_and_kept(capfd):
    for name in AWKWARD:
        for i in range(10):
            save(Path("my pictures (1)", name, f"{i}.png"))
    words = ["data=folder", "data.path=my pictures (1)", "model=mlp", "model.width=4", "batch_size=8", "probe=off"]
    assert main(["train", *words, "steps=2", "name=run"]) == 0
    assert f"5 classes: {', '.join(AWKWARD)}" in Path("runs/run/train.log").read_text(encoding="utf-8")
    Path("my pictures (1)").rename("moved~")
    assert main(["resume", "runs/run", "steps=3", "data.path=moved~"]) == 0
    assert main(["eval", "runs/run", "data.path=moved~"]) == 0
    printed = capfd.readouterr().out
    assert all(f" {name} " in printed for name in AWKWARD)


def test_each_test_set_has_a_cache_of_its_own(monkeypatch):
    """A sweep over data.split_seed decodes each once."""
    monkeypatch.setattr(folder, "SETTLED", 0.0)
    for i in range(40):
        save(Path("pictures", "ab"[i % 2], f"{i}.png"))

    def tests():
        configs = [compose("data=folder", "data.path=pictures", f"data.split_seed={i}", "batch_size=8") for i in (0, 1)]
        return [DATA["folder"].load(config.data, Path("data")).test_images for config in configs]

    first = tests()
    monkeypatch.delattr(folder, "decode")
    assert all(map(np.array_equal, first, tests())) and not np.array_equal(*first)


def test_ctrl_c_waits_for_no_more_than_the_images_being_decoded(monkeypatch):
    decoded = []

    def slow(path, *shape):
        decoded.append(path)
        if len(decoded) == 1:
            _thread.interrupt_main()
        time.sleep(0.02)
        return np.zeros(shape, dtype=np.uint8)

    monkeypatch.setattr(images, "_pixels", slow)
    monkeypatch.setattr(images, "CHUNK", 1000)
    with pytest.raises(KeyboardInterrupt):
        images.decode([Path("x")] * 5000, np.zeros((5000, 1, 1, 1), dtype=np.uint8), what="x")
    assert len(decoded) < 1000
