"""Checkpoints that are damaged, forged, or don't fit the run are refused."""

import dataclasses
import json
import os
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from same_runs import bitwise_equal

from normexp import NUMERICS
from normexp.config import ConfigError
from normexp.training import checkpoint
from normexp.training.build import build
from normexp.training.state import TrainState
from tests.conftest import compose
from tests.training.short import SMALL, resume, terminate, train
from tests.training.test_resume import EVERY, assert_same


def test_a_truncated_checkpoint_is_not_used(tmp_path):
    directory = train(tmp_path, EVERY).directory
    config = compose(*SMALL, EVERY)
    content = (directory / "checkpoint.pt").read_bytes()
    for torn in (b"", content[:100], content[: len(content) // 2], content[:-1], b"\0" * len(content)):
        (directory / "checkpoint.pt").write_bytes(torn)
        saved, (line,) = checkpoint.newest(directory, config)
        assert saved["step"] == 10
        assert line.startswith(f"Cannot use {directory}/checkpoint.pt: ")
    (directory / "checkpoint.pt").unlink()  # as a kill between two renamings leaves it
    assert checkpoint.newest(directory, config)[0]["step"] == 10
    (directory / "checkpoint.prev.pt").write_bytes(content[:50])
    assert checkpoint.newest(directory, config)[0] is None


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bytes of a checkpoint, and the loaded state."""
    folder = tmp_path_factory.mktemp("written")
    path = train(folder, "model=mlp", "model.width=4", "probe=off").directory / "checkpoint.pt"
    return path.read_bytes(), checkpoint.load(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_detected(tmp_path, written, data):
    content, state = written
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damaged)
    try:
        found = checkpoint.load(path)
    except checkpoint.CheckpointError:
        return
    assert bitwise_equal(found, state)  # a byte that fills a gap


def test_a_checkpoint_with_code_is_refused(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"format": checkpoint.FORMAT, "model": Payload()}, tmp_path / "checkpoint.pt")
    with pytest.raises(checkpoint.CheckpointError, match="more than tensors and plain values"):
        checkpoint.load(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "ran").exists()
    with zipfile.ZipFile(tmp_path / "checkpoint.pt", "w") as archive:
        archive.writestr("../../evil", "x")
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.load(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("part", ["model", "optimizer", "course", "sinks", "order", "generators", "probes"])
def test_a_forged_checkpoint_is_refused(tmp_path, part):
    directory = train(tmp_path, EVERY).directory
    state = checkpoint.load(directory / "checkpoint.pt")
    torch.save({**state, part: {"odd": [1]}}, directory / "checkpoint.pt")
    (directory / "checkpoint.prev.pt").unlink()
    config = compose(*SMALL, EVERY)
    with pytest.raises((ConfigError, AssertionError), match=r"does not match|None is not"):
        saved, _ = checkpoint.newest(directory, config)
        assert saved is not None, "None is not a checkpoint"
        resume(directory, EVERY)


def test_a_checkpoint_of_another_config_is_refused(tmp_path):
    directory = train(tmp_path).directory
    with pytest.raises(ConfigError, match=r"differ in norm\.eps, lr\."):
        checkpoint.newest(directory, compose(*SMALL, "norm.eps=0.1", "lr=0.2"))
    assert checkpoint.newest(directory, compose(*SMALL, "threads=2", "steps=20", "checkpoint_every=3"))[0]


def test_other_data_is_noticed(tmp_path, monkeypatch):
    from normexp.training import build

    directory = train(tmp_path, EVERY).directory
    before = (directory / "metrics.jsonl").read_bytes()
    real = build.load

    def swapped(config, device):
        splits = real(config, device)
        return type(splits)(splits.train, splits.val, splits.test, fingerprint="0" * 8)

    monkeypatch.setattr(build, "load", swapped)
    with pytest.raises(ConfigError, match="not the data that this run was trained on"):
        resume(directory, EVERY, "steps=20")
    assert (directory / "metrics.jsonl").read_bytes() == before


def test_a_truncated_metrics_file_is_refused(tmp_path, at_step):
    at_step(9, terminate)
    directory = train(tmp_path, EVERY).directory
    config = compose(*SMALL, EVERY)
    metrics = directory / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:-1]))
    saved, (line,) = checkpoint.newest(directory, config)
    assert saved["step"] == 5
    assert "missing, truncated" in line
    metrics.write_text(lines[0])
    with pytest.raises(ConfigError, match="the resumed run would have a gap"):
        checkpoint.newest(directory, config)
    metrics.unlink()
    with pytest.raises(ConfigError, match="the resumed run would have a gap"):
        checkpoint.newest(directory, config)


def test_a_reformatted_metrics_file_is_refused(tmp_path, at_step):
    at_step(9, terminate)
    directory = train(tmp_path, EVERY).directory
    config = compose(*SMALL, EVERY)
    metrics = directory / "metrics.jsonl"
    entries = [json.loads(line) for line in metrics.read_text().splitlines()]
    pretty = "".join(json.dumps(entry, indent=2) + "\n" for entry in entries)
    spaced = "".join(json.dumps(entry, separators=(" , ", " : ")) + "\n" for entry in entries)
    for text in (pretty, spaced):
        metrics.write_text(text)
        with pytest.raises(ConfigError, match="reformatted, so the resumed run would have a gap"):
            checkpoint.newest(directory, config)
        assert metrics.read_text() == text


def test_another_gpu_is_noted(tmp_path, monkeypatch):
    """So is a CPU instead of a GPU. Checkpoints from before names were stored have only the device type."""
    directory, config = train(tmp_path, EVERY).directory, compose(*SMALL, EVERY)
    state = checkpoint.load(directory / "checkpoint.pt")
    assert state["device_name"] == "cpu"

    def notes(name, **more):
        monkeypatch.setattr(checkpoint, "device_name", lambda device: name)
        parts = build(config)
        return checkpoint.restore({**state, **more}, parts, TrainState(12, parts.device), config)

    assert notes("cpu") == []
    assert notes("NVIDIA B", device_name="NVIDIA A") == ["device was NVIDIA A, now NVIDIA B"]
    assert notes("cpu", device_name="NVIDIA A", device="cuda") == ["device was NVIDIA A, now cpu"]
    del state["device_name"]
    assert notes("cpu") == []
    assert notes("cpu", device="cuda") == ["device was cuda, now cpu"]


def test_an_unreadable_checkpoint_is_not_treated_as_damaged(tmp_path, monkeypatch):
    directory = train(tmp_path, EVERY).directory
    for error in (OSError(5, "Input/output error"), MemoryError()):
        with monkeypatch.context() as patch, pytest.raises(type(error)):
            patch.setattr(torch, "load", lambda *args, error=error, **kwargs: (_ for _ in ()).throw(error))
            checkpoint.newest(directory, compose(*SMALL, EVERY))
    state = checkpoint.load(directory / "checkpoint.pt")
    before = {key: value for key, value in state.items() if key != "numerics"}  # as version 0.1 wrote it
    for other in ({**state, "format": checkpoint.FORMAT + 1}, {**state, "numerics": NUMERICS - 1}, before):
        torch.save(other, directory / "checkpoint.pt")
        with pytest.raises(ConfigError, match="incompatible version of normexp; resume with that version"):
            checkpoint.newest(directory, compose(*SMALL, EVERY))


def test_a_completed_run_that_can_not_be_extended_stays_completed(tmp_path, monkeypatch):
    from normexp.training import run as module

    directory = train(tmp_path, EVERY).directory
    before = {path.name: path.read_bytes() for path in directory.iterdir()}

    def exhausted(config):
        raise MemoryError

    monkeypatch.setattr(module, "build", exhausted)
    with pytest.raises(ConfigError, match="out of memory at batch_size=64"):
        resume(directory, EVERY, "steps=20")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_unusable_checkpoints_are_renamed(tmp_path, at_step):
    """Otherwise it would be used later, or replace the good one."""
    whole = train(tmp_path / "whole", EVERY).directory
    at_step(11, terminate)
    directory = train(tmp_path / "stopped", EVERY).directory
    (directory / "checkpoint.pt").write_bytes(b"damaged")
    saved, _ = checkpoint.newest(directory, compose(*SMALL, EVERY))
    checkpoint.set_aside(directory, saved)
    assert (directory / "checkpoint.pt.damaged").read_bytes() == b"damaged"
    assert not (directory / "checkpoint.pt").exists()
    assert checkpoint.load(directory / "checkpoint.prev.pt")["step"] == 10
    resume(directory, EVERY)
    assert_same(whole, directory)


def test_whether_files_are_verified_may_change():
    state = {"config": dataclasses.asdict(compose("data=mnist"))}
    assert checkpoint.differing_keys(state, compose("data=mnist", "data.verify=false")) == []
    assert checkpoint.differing_keys(state, compose("data=mnist", "data.val_size=0.2")) == ["data.val_size"]
