"""Whichever write of a run fails, one sentence names the file, and the run can be resumed."""

import errno
import functools
import io
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch
from same_runs import bitwise_equal

from normexp import rundir
from normexp.config import ConfigError
from normexp.rundir import read_metrics, read_status
from normexp.rundir.atomic import WriteError
from normexp.training import build, checkpoint, trainer
from normexp.training import run as run_module
from tests.faults import FULL, failing
from tests.small_disk import free, leave, small_disk
from tests.training import short, test_resume

SMALL = ["model=mlp", "model.width=4", "model.depth=2", "data.train_size=40", "batch_size=20", "probe.every=2"]
SMALL += ["steps=2", "log_every=1", "eval_every=2", "checkpoint_every=1"]

NEEDLESS = ("train.log", "status.json", "metrics.jsonl", "events.out.tfevents")
"""Files of which a write may fail without harm: a line of the log, a status that then overwrites the old one in place, and files
that are closed after a checkpoint has confirmed that their content is on disk."""


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Build the slow parts of these short runs only once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short, "SMALL", SMALL)
        load = functools.cache(lambda data, real=build.load: real(short.compose(*SMALL), torch.device("cpu")))
        patch.setattr(build, "load", lambda config, device: load(config.data))
        environment = run_module.environment([], device="cpu", threads=1)
        patch.setattr(run_module, "environment", lambda *args, **more: environment)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory, quick):
    """An undisturbed run."""
    return short.train(tmp_path_factory.mktemp("whole")).directory


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, quick):
    """A run that was killed some time after its checkpoint of step 1."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        saves = iter([False, True])
        real = checkpoint.save

        def save(*args, **more):
            if next(saves):
                raise test_resume.Power
            real(*args, **more)

        patch.setattr(checkpoint, "save", save)
        with pytest.raises(test_resume.Power):
            short.train(folder)
    return folder / "run"


def anew(directory):
    """Train a run from scratch in its directory, as `normexp resume` does without a checkpoint."""

    def fill(files):
        rundir.remove_outputs(directory)
        return rundir.write_run_files(directory, files)

    config = short.compose(*SMALL)
    return short.run(config, make_directory=fill, diff={}, command=["normexp"], console=short.QUIET)


def finish(directory):
    """Resume a run from whatever is left of it."""
    saved, lines = checkpoint.newest(directory, short.compose(*SMALL))
    assert lines == []
    return short.resume(directory) if saved else anew(directory)


def disturbed(train, folder, at, **how):
    """Train with a failing n-th write; returns the faults, the result and the error sentence. Nothing may be printed."""
    printed, result = io.StringIO(), None
    with redirect_stdout(printed), redirect_stderr(printed), failing(folder, at, **how) as faults:
        try:
            result = train()
            sentence = result.error
        except (WriteError, ConfigError) as error:
            sentence = str(error)
    assert printed.getvalue() == "", faults.failed
    harmless = all(any(name in operation for name in NEEDLESS) for operation in faults.failed)
    if result is None or result.state == "failed":
        assert sentence.count("could not be written (") == 1, sentence
        assert len(sentence.splitlines()) == 1
    else:
        assert (result.state, harmless) == ("completed", True), faults.failed
    return faults, result, sentence


MODES = {
    "once": ({}, int(os.environ.get("NORMEXP_FAULT_STRIDE", "3"))),
    "full from then on": ({"lasting": True}, 5),
    "over quota from then on": ({"number": errno.EDQUOT, "lasting": True}, 9),
    "read-only from then on": ({"number": errno.EROFS, "lasting": True}, 8),
}
"""How writing fails, and at each how many-th operation that is tried. `make torture` tries each."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.long
def test_any_failed_write_is_reported_and_the_run_can_be_resumed(tmp_path, whole, mode):
    (how, stride), at = MODES[mode], 1
    while True:
        folder = tmp_path / str(at)
        folder.mkdir()
        faults, result, sentence = disturbed(lambda folder=folder: short.train(folder / "runs"), folder, at, **how)
        if not faults.failed:
            break
        if result is None:
            assert sentence.startswith(str(folder))
            assert not keeps_status(how) or not list(folder.iterdir())
        else:
            assert_told(result, sentence, how)
            assert finish(result.directory).state == "completed"
            assert_ends_as(whole, result.directory)
        at = faults.first + stride
    assert at > 75


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.slow
def test_any_failed_write_of_a_resumed_run_loses_nothing(tmp_path, whole, stopped, mode):
    (how, stride), at = MODES[mode], 1
    while True:
        directory = shutil.copytree(stopped, tmp_path / str(at) / "run")
        faults, result, sentence = disturbed(lambda directory=directory: finish(directory), directory, at, **how)
        if not faults.failed:
            break
        if result is not None:
            assert_told(result, sentence, how)
        assert finish(directory).state == "completed"
        assert_ends_as(whole, directory)
        at = faults.first + stride
    assert at > 50


def assert_ends_as(whole, directory):
    """A fast part of `test_resume.assert_same`, which takes as long as the run."""
    assert read_metrics(directory)[-1]["step"] == 2
    model, other = (checkpoint.load(path / "checkpoint.pt")["model"] for path in (whole, directory))
    assert bitwise_equal(model, other)
    assert (directory / "histograms.png").read_bytes() == (whole / "histograms.png").read_bytes()
    metrics = [read_status(path)["metrics"] for path in (whole, directory)]
    assert metrics[0]["test/loss"] == metrics[1]["test/loss"]
    assert not list(directory.glob(".*.tmp"))


def keeps_status(how):
    """Whether a status can still be written: on a full disk, in place over the old one."""
    return not how.get("lasting") or how.get("number", errno.ENOSPC) in FULL


def assert_told(result, sentence, how):
    """The status has the error sentence, and everything written before is intact."""
    assert sentence is None or str(result.directory) in sentence
    if keeps_status(how):
        status = read_status(result.directory)
        assert (status["state"], status["error"]) == (result.state, sentence)
        assert not list(result.directory.glob(".*"))
    if (result.directory / "metrics.jsonl").exists():
        steps = [entry["step"] for entry in read_metrics(result.directory)]
        assert steps == [0, 1, 2][: len(steps)]


@pytest.mark.long
@pytest.mark.parametrize("begins", [True, False], ids=["that begins", "that goes on"])
def test_a_disk_that_fills_up_at_any_point(tmp_path, whole, stopped, begins):
    with small_disk(tmp_path / "disk") as disk:
        for pages in range(400):
            shutil.rmtree(disk / "runs", ignore_errors=True)
            directory = disk / "runs" / "run"
            if not begins:
                shutil.copytree(stopped, directory)
            leave(disk, pages)
            begun = directory.exists()
            try:
                result = short.train(disk / "runs") if begins else finish(directory)
            except WriteError as error:
                free(disk)
                assert "could not be written (No space left on device)" in str(error)
                assert begins <= (list(disk.iterdir()) == [])
                result = None
            else:
                free(disk)
                assert_told(result, result.error, {})
                if result.state == "completed":
                    break
            if result or begun:
                assert finish(directory).state == "completed"
                test_resume.assert_same(whole, directory)
    assert pages > 10


def gone(directory):
    shutil.rmtree(directory)


def moved(directory):
    directory.rename(directory.with_name("elsewhere"))


def swapped(directory):
    moved(directory)
    directory.mkdir()


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("happens", [gone, moved, swapped])
def test_a_run_whose_folder_is_replaced_does_not_write_to_the_new_one(tmp_path, monkeypatch, step, happens):
    directory, real = tmp_path / "run", trainer.lr_factor

    def lr_factor(schedule, done, total):
        if done == step - 1:
            happens(directory)
        return real(schedule, done, total)

    monkeypatch.setattr(trainer, "lr_factor", lr_factor)
    result = short.train(tmp_path)
    reason = "it was deleted or replaced"
    assert (result.state, result.error) == ("failed", f"{directory} could not be written ({reason}).")
    assert not directory.exists() or not list(directory.iterdir())


def test_a_run_whose_metrics_file_is_deleted_does_not_complete(tmp_path, monkeypatch):
    real = trainer.lr_factor

    def lr_factor(schedule, done, total):
        (tmp_path / "run" / "metrics.jsonl").unlink(missing_ok=True)
        return real(schedule, done, total)

    monkeypatch.setattr(trainer, "lr_factor", lr_factor)
    result = short.train(tmp_path)
    assert (result.state, result.error) == (
        "failed",
        f"{tmp_path}/run/metrics.jsonl could not be written (file was deleted).",
    )


def test_a_status_that_has_grown_loses_its_metrics_on_a_full_disk(tmp_path):
    values = {"step": 1, "total_steps": 2, "seconds": 0.0, "started": rundir.now()}
    with small_disk(tmp_path / "disk") as disk:
        rundir.write_status(disk, state="running", error=None, metrics={}, **values)
        leave(disk, 0)
        metrics = {f"grad_norm/{i}": 0.1 for i in range(1000)}
        rundir.write_status(disk, state="failed", error="why", metrics=metrics, **values)
        status = read_status(disk)
        assert (status["state"], status["error"], status["metrics"]) == ("failed", "why", {})
