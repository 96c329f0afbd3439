"""Short runs for tests."""

import signal

from rich.console import Console

from normexp import rundir
from normexp.training import checkpoint
from normexp.training.build import build
from normexp.training.run import run
from normexp.training.state import TrainState
from normexp.training.trainer import Trainer
from tests.conftest import compose

QUIET = Console(quiet=True)


SMALL = ["steps=12", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5", "probe.early=0"]


def train(folder, *overrides):
    config = compose(*SMALL, *overrides)
    return run(
        config,
        make_directory=lambda files: rundir.create_run_directory(folder, "run", files),
        diff={},
        command=["normexp"],
        console=QUIET,
    )


def resume(directory, *overrides):
    """Resume a run from its newest checkpoint."""
    config = compose(*SMALL, *overrides)
    saved, _ = checkpoint.newest(directory, config)
    assert saved is not None
    return run(
        config,
        make_directory=lambda files: rundir.write_resumed_files(directory, files, saved["step"]),
        diff={},
        command=["normexp"],
        console=QUIET,
        saved=saved,
    )


def train_and_record(*overrides, stop_after=None):
    """Train without files; returns the records, the parts and the outcome."""
    config = compose(*SMALL, *overrides)
    parts, records = build(config), []
    state = TrainState(parts.sizes.total_steps, parts.device)
    trainer = Trainer(
        parts,
        config,
        state=state,
        log=records.append,
        interrupted=lambda: stop_after is not None and state.step >= stop_after,
    )
    outcome = trainer.train()
    return records, parts, outcome


def terminate():
    signal.raise_signal(signal.SIGTERM)
