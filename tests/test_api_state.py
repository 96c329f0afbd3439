"""`normexp.train` leaves the program that calls it as it was, and is not changed by what that program has set."""

import logging
import os
import random
import signal
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import normexp
from normexp.cli import main
from normexp.rundir import read_status
from normexp.sinks.progress_bar import ProgressBar
from normexp.training import trainer
from tests.test_api import KEYS, WORDS, same_bits


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run with nothing unusual around it."""
    return normexp.train(*WORDS, **KEYS, runs_dir=tmp_path_factory.mktemp("runs"), quiet=True).directory


def state():
    """All that a run could change in its process, in a form that can be compared."""
    name, keys, *position = np.random.get_state()
    return {
        "threads": torch.get_num_threads(),
        "device": torch.get_default_device(),
        "dtype": torch.get_default_dtype(),
        "matmul": torch.get_float32_matmul_precision(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32),
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position),
        "filters": list(warnings.filters),
        "show": warnings.showwarning,
        "logging": [(log.level, log.handlers[:]) for log in map(logging.getLogger, (None, "normexp", "py.warnings"))],
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "environment": dict(os.environ),
        "folder": Path.cwd(),
    }


def test_state_around_a_run_neither_changes_it_nor_is_changed(plain, monkeypatch):
    before = state()
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    logging.captureWarnings(True)
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_float32_matmul_precision("medium")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.manual_seed(1)
        random.seed(2)
        np.random.seed(3)
        logging.getLogger("normexp").setLevel(logging.ERROR)
        with torch.no_grad(), torch.autocast("cpu"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "of the caller")
            unusual = state()
            run = normexp.train(*WORDS, **KEYS, quiet=True)
            run.model()
            run.data()
            normexp.build("norm=bn")
            assert state() == unusual
        assert same_bits(run.directory, plain)
    finally:
        logging.captureWarnings(False)
        torch.set_default_dtype(before["dtype"])
        torch.set_default_device(None)
        torch.set_float32_matmul_precision(before["matmul"])
        torch.set_deterministic_debug_mode(before["deterministic"])
        torch.set_rng_state(torch.tensor(before["torch"], dtype=torch.uint8))
        logging.getLogger("normexp").setLevel(before["logging"][1][0])


def test_a_failed_run_raises_and_restores_the_state(monkeypatch):
    def fail(self):
        raise RuntimeError("a bug")

    monkeypatch.setattr(trainer.Trainer, "train_step", fail)
    before = state()
    with pytest.raises(normexp.TrainingError, match="a bug") as error:
        normexp.train(*WORDS, **KEYS, quiet=True)
    assert state() == before
    assert normexp.load(error.value.directory).state == "failed"
    assert "Traceback" in (error.value.directory / "train.log").read_text()


def at_step(monkeypatch, step, act):
    """Call `act` when a run logs a step."""
    log = ProgressBar.log

    def log_and_act(self, record):
        log(self, record)
        if record.step == step:
            act()

    monkeypatch.setattr(ProgressBar, "log", log_and_act)


def test_ctrl_c_saves_a_checkpoint_and_raises(plain, monkeypatch):
    before = state()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="normexp resume runs/stopped"):
        at_step(patch, 3, lambda: signal.raise_signal(signal.SIGINT))
        normexp.train(*WORDS, **KEYS, name="stopped", quiet=True)
    assert state() == before
    assert read_status(Path("runs/stopped"))["state"] == "interrupted"
    assert main(["resume", "runs/stopped"]) == 0
    assert same_bits("runs/stopped", plain)


def test_sigterm_reaches_the_handler_of_the_caller(monkeypatch):
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        at_step(monkeypatch, 3, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            normexp.train(*WORDS, **KEYS, name="stopped", quiet=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    assert read_status(Path("runs/stopped"))["state"] == "interrupted"


def test_trainings_in_threads_give_the_same_bits(plain):
    runs = []
    threads = [
        threading.Thread(target=lambda: runs.append(normexp.train(*WORDS, **KEYS, quiet=True))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    runs.append(normexp.train(*WORDS, **KEYS, quiet=True))
    for thread in threads:
        thread.join()
    assert len({run.directory for run in runs}) == 3
    assert all(same_bits(run.directory, plain) for run in runs)


def test_a_program_that_uses_hydra_itself(plain, tmp_path):
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.version import getbase
    from omegaconf import OmegaConf

    from normexp.compose.hydra_compat import IS_1_3

    (tmp_path / "own.yaml").write_text("lr: 7\n")
    version_base = {"version_base": "1.2"} if IS_1_3 else {}
    with initialize_config_dir(str(tmp_path), **version_base):
        HydraConfig.instance().set_config(compose("own", return_hydra_config=True))
        register = OmegaConf.register_new_resolver if IS_1_3 else OmegaConf.register_resolver
        register("now", lambda pattern: f"own {pattern}", replace=True)  # a name of Hydra's
        before = HydraConfig.get(), getbase()
        assert same_bits(normexp.train(*WORDS, **KEYS, quiet=True).directory, plain)
        assert (HydraConfig.get(), getbase()) == before
        assert OmegaConf.create({"a": "${now:b}"}).a == "own b"
        assert compose("own").lr == 7
    assert not GlobalHydra.instance().is_initialized()
