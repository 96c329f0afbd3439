"""Short runs for tests."""

import signal

from rich.console import Console

from normexp import rundir
from normexp.training import checkpoint
from normexp.training.build import build
from normexp.training.run import run
from normexp.training.state import Stopwatch, TrainState
from normexp.training.trainer import fit
from tests.conftest import compose

QUIET = Console(quiet=True)


SMALL = ["steps=12", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5"]


def train(folder, *overrides):
    config = compose(*SMALL, *overrides)
    return run(
        config,
        make_directory=lambda files: rundir.create(folder, "run", files),
        diff={},
        command=["normexp"],
        console=QUIET,
    )


def go_on(directory, *overrides):
    """Take up a run at its newest checkpoint."""
    config = compose(*SMALL, *overrides)
    saved, _ = checkpoint.newest(directory, config)
    assert saved is not None
    return run(
        config,
        make_directory=lambda files: rundir.refill(directory, files, saved["step"]),
        diff={},
        command=["normexp"],
        console=QUIET,
        saved=saved,
    )


def fit_and_record(*overrides, stop_after=None):
    """A run's records, parts and outcome, without files."""
    config = compose(*SMALL, *overrides)
    parts, records = build(config), []
    course = TrainState(parts.sizes.total_steps, Stopwatch(parts.device))
    outcome = fit(
        parts,
        config,
        course,
        log=records.append,
        interrupted=lambda: stop_after is not None and course.step >= stop_after,
    )
    return records, parts, outcome


def terminate():
    signal.raise_signal(signal.SIGTERM)
