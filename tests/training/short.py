"""Short runs for tests."""

from rich.console import Console

from normexp.rundir import create
from normexp.training.build import build
from normexp.training.run import run
from normexp.training.trainer import Progress, fit
from tests.conftest import compose

QUIET = Console(quiet=True)


SMALL = ["steps=12", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5"]


def train(folder, *overrides):
    config = compose(*SMALL, *overrides)
    return run(config, make_directory=lambda: create(folder, "run"), diff={}, command=["normexp"], console=QUIET)


def fit_and_record(*overrides, stop_after=None):
    """A run's records, parts and outcome, without files."""
    config = compose(*SMALL, *overrides)
    parts, records = build(config), []
    progress = Progress(parts.sizes.total_steps)
    outcome = fit(
        parts,
        config,
        progress,
        log=records.append,
        interrupted=lambda: stop_after is not None and progress.step >= stop_after,
    )
    return records, parts, outcome
