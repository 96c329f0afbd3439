"""A run that is out of memory, on CPU or GPU, fails with a sentence that names the batch size."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from normexp.cli import main
from normexp.rundir import read_status
from normexp.training import run as run_module
from normexp.training import trainer
from tests.sweeps.sweeping import SHORT
from tests.training.short import train

SENTENCE = "out of memory at batch_size=64"


def of_the_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def of_cublas():
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def of_cpp():
    raise RuntimeError("std::bad_alloc")


KINDS = {
    "torch on the CPU": lambda: torch.empty(10**15),
    "numpy": lambda: np.empty(10**15),
    "python": lambda: bytes(10**15),
    "torch on a GPU": of_the_gpu,
    "cublas": of_cublas,
    "C++": of_cpp,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["as it is built", "in a step"])
def test_out_of_memory_is_a_failed_run(tmp_path, monkeypatch, kind, place):
    module, name = (run_module, "build") if place == "as it is built" else (trainer, "lr_factor")
    monkeypatch.setattr(module, name, lambda *args: KINDS[kind]())
    result = train(tmp_path)
    status = read_status(result.directory)
    assert (result.state, result.error) == (status["state"], status["error"]) == ("failed", SENTENCE)
    assert "Traceback" in (result.directory / "train.log").read_text()


def test_the_summary_gives_advice(monkeypatch, capsys):
    monkeypatch.setattr(trainer, "lr_factor", lambda *args: torch.empty(10**15))
    assert main(["train", *SHORT, "name=r"]) == 1
    printed = capsys.readouterr().out
    assert f"run            failed: {SENTENCE}\n" in printed
    assert "less memory    the same command with a smaller batch_size or network, or a larger accumulate\n" in printed


@pytest.mark.long
def test_an_allocation_that_the_system_refuses():
    def little():
        size = 3 * 2**30  # less than the weights of the second layer take, with what torch has
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    words = [*SHORT, "model=mlp", "model.width=20000", "model.depth=3", "name=r"]
    done = subprocess.run(
        [sys.executable, "-m", "normexp", "train", *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=little,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert f"failed: {SENTENCE}" in done.stdout
    assert read_status(Path("runs/r"))["error"] == SENTENCE
