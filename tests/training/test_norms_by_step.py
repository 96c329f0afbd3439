"""Norms that depend on the step: frozen batch norm and batch renorm, resumed and compiled."""

import shutil

import pytest
import torch
from same_runs import differences

from normexp.rundir import read_metrics
from tests.training.short import resume, terminate, train, train_and_record

FROZEN = ["norm=bn", "norm.freeze_at=7", "norm.ghost_batch=16"]
RENORM = ["norm=brn", "norm.ramp_start=0.2", "norm.d_ramp_end=0.8", "norm.r_ramp_end=0.9"]


@pytest.mark.parametrize("stop", [6, 7])
@pytest.mark.parametrize("norm", [FROZEN, RENORM], ids=["frozen", "renorm"])
def test_a_resumed_run_is_at_the_same_point(tmp_path, at_step, norm, stop):
    overrides = ["model=cnn", *norm, "probe=full"]
    whole = train(tmp_path / "whole", *overrides).directory
    at_step(stop, terminate)
    stopped = train(tmp_path / "stopped", *overrides)
    assert stopped.state == "interrupted"
    resume(stopped.directory, *overrides)
    assert differences(whole, stopped.directory) == []


def test_freezes_before_the_step():
    _, parts, _ = train_and_record("model=mlp", *FROZEN)
    _, before, _ = train_and_record("model=mlp", *FROZEN, stop_after=6)
    ends, at_6 = dict(parts.model.named_buffers()), dict(before.model.named_buffers())
    assert ends["fc1.norm.num_batches_tracked"] == 6
    assert all(torch.equal(ends[name], at_6[name]) for name in ends)
    _, plain, _ = train_and_record("model=mlp", "norm=bn", "norm.ghost_batch=16")
    assert dict(plain.model.named_buffers())["fc1.norm.num_batches_tracked"] == 12


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # what torch says to itself when its compiler is imported
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
@pytest.mark.parametrize("norm", [FROZEN, RENORM], ids=["frozen", "renorm"])
def test_a_compiled_run_follows_the_step(norm):
    """Frozen norms are compiled again at their step; batch renorm's limits are inputs of the compiled network."""
    plain, _, _ = train_and_record("model=mlp", *norm, "probe=off", "log_every=1")
    compiled, _, _ = train_and_record("model=mlp", *norm, "probe=off", "log_every=1", "compile=true")
    for one, two in zip(plain, compiled, strict=True):
        for tag in {"train/loss", "val/loss"} & one.scalars.keys():
            assert two.scalars[tag] == pytest.approx(one.scalars[tag], rel=1e-3)


def test_probe_reads_the_limits_of_the_step(tmp_path):
    directory = train(tmp_path, "model=mlp", *RENORM, "probe.every=1").directory
    entries = {entry["step"]: entry for entry in read_metrics(directory)}
    assert entries[2]["brn_r/fc1/mean"] == 1
    assert entries[2]["brn_d/fc1/std"] == 0
    r, d = entries[12]["brn_r/fc1/mean"], entries[12]["brn_d/fc1/std"]
    assert r != 1
    assert 0 < d < 5
