"""GPUs are counted without torch, and each run of a sweep gets one. Fake files replace those of the system."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from normexp.cli import main
from normexp.rundir import process
from normexp.sweeps import gpus, hydra_task
from normexp.sweeps.manifest import Session
from normexp.sweeps.plan import count_jobs
from tests.conftest import compose
from tests.sweeps.sweeping import SHORT, states


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Simulate a machine with a number of GPUs and a value of CUDA_VISIBLE_DEVICES."""

    def arrange(files=0, listed=0, *, visible=None, cuda=True):
        for name in (*(f"nvidia{index}" for index in range(files)), "nvidiactl", "nvidia-uvm"):
            (tmp_path / "dev" / name).mkdir(parents=True, exist_ok=True)
        for index in range(listed):
            (tmp_path / "proc" / f"0000:0{index}:00.0").mkdir(parents=True)
        monkeypatch.setattr(gpus, "DEV", tmp_path / "dev")
        monkeypatch.setattr(gpus, "PROC", tmp_path / "proc")
        monkeypatch.setattr(gpus, "WSL", tmp_path / "libcuda.so.1")
        monkeypatch.setattr(gpus, "_torch_has_cuda", lambda: cuda)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return arrange


@pytest.mark.parametrize(
    ("files", "listed", "visible", "expected"),
    [
        (0, 0, None, []),
        (0, 0, "0", []),
        (3, 3, None, ["0", "1", "2"]),
        (2, 8, None, ["0", "1"]),  # a container that has two of eight
        (0, 4, None, ["0", "1", "2", "3"]),
        (4, 0, "", []),
        (4, 0, "-1", []),
        (4, 0, "3, 1", ["3", "1"]),
        (4, 0, "2,-1,0", ["2"]),
        (4, 0, "1,4,0", ["1"]),
        (1, 0, "MIG-5a,MIG-6b", ["MIG-5a", "MIG-6b"]),
        (2, 0, "GPU-8c", ["GPU-8c"]),
        (2, 0, "NoDevFiles", []),
    ],
)
def test_the_gpus_that_cuda_would_use(machine, files, listed, visible, expected):
    machine(files, listed, visible=visible)
    assert gpus.visible_gpus() == expected


def test_a_torch_without_cuda_uses_none(machine):
    machine(2, cuda=False)
    assert gpus.visible_gpus() == []


def test_whether_torch_has_cuda_is_read_without_importing_it():
    code = "import sys; from normexp.sweeps import gpus; print(gpus._torch_has_cuda(), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    import torch

    assert said == [str(torch.version.cuda is not None), "False"]


@pytest.mark.parametrize(
    ("device", "files", "expected"),
    [("auto", 0, "cores"), ("auto", 3, 3), ("cuda", 2, 2), ("cuda", 0, 1), ("cpu", 3, "cores")],
)
def test_runs_at_once(machine, device, files, expected):
    import joblib

    machine(files)
    cores = joblib.cpu_count()
    assert count_jobs(OmegaConf.create({"jobs": None, "device": device})) == (
        cores if expected == "cores" else expected
    )
    assert count_jobs(OmegaConf.create({"jobs": 5, "device": device})) == 5


def test_runs_spread_over_the_gpus(machine, tmp_path):
    machine(4, visible="3,1")
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(gpus.reserved_gpu(tmp_path)) for _ in range(3))
        assert (first, second, third) == ("3", "1", "3")
    with gpus.reserved_gpu(tmp_path) as alone, gpus.reserved_gpu(tmp_path) as beside:
        assert (alone, beside) == ("3", "1")


def test_without_gpus_nothing_is_reserved(machine, tmp_path):
    machine()
    with gpus.reserved_gpu(tmp_path) as none:
        assert none is None
    assert not (tmp_path / gpus.SLOTS_DIR).exists()


@pytest.mark.parametrize(
    "case",
    [([], True, "0"), (["device=cpu"], True, None), ([], False, None)],
    ids=["local", "on the CPU", "on a cluster"],
)
def test_a_run_of_a_sweep_gets_one_gpu(machine, tmp_path, monkeypatch, case):
    overrides, local, expected = case
    machine(2)
    jobs = []
    monkeypatch.setattr(hydra_task, "train_with_retry", lambda job, stopping: jobs.append(job))
    tree = json.loads(json.dumps(compose(*overrides), default=vars))
    monkeypatch.setattr("normexp.sweeps.hydra_task.validate", lambda tree: compose(*overrides))
    session = Session(["normexp"], str(tmp_path), None, process.identity(), local)
    hydra_task.train_if_needed(tmp_path / "run", tree, session, stopping=lambda: False)
    assert [job.gpu for job in jobs] == [expected]


def test_the_locks_of_gpus_are_no_runs(machine, capsys):
    machine(2)
    assert main(["train", "-m", *SHORT, "seed=0,1", "steps=6", "jobs=1", "name=s"]) == 0
    assert set(states("runs/s").values()) == {"completed"}
    assert [path.name for path in Path("runs/s", gpus.SLOTS_DIR).iterdir()] == ["0"]
    assert main(["runs", "runs/s"]) == 0
    assert gpus.SLOTS_DIR not in capsys.readouterr().out


def test_the_process_of_a_run_sees_its_gpu_alone_and_what_it_is_forked_from_leaves_cuda_alone(tmp_path):
    """CUDA can't be used in a forked process whose parent has used it, and reads its variable on first use."""
    code = f"""
import os, sys, torch

def used(*arguments, **keys):
    raise AssertionError("CUDA is used")

torch.cuda.is_available = torch.cuda.device_count = torch.cuda.init = torch.cuda._lazy_init = used
from normexp.rundir import process
from normexp.sweeps import worker
from normexp.sweeps.manifest import Job, Session
from pathlib import Path

worker._train = lambda job: print("sees", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
session = Session([], {str(tmp_path)!r}, None, {{}}, True)
worker.train(Job(Path({str(tmp_path)!r}), {{}}, session, process.identity(), "MIG-7"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "MIG-6,MIG-7"},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "train.log").read_text() == "sees MIG-7\n"
