"""Train a new run in a run directory of its own."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from normexp import rundir
from normexp.config import Config, yaml_files
from normexp.console import print_message
from normexp.models.describe import warnings
from normexp.rundir import lock
from normexp.training.run import Result, run

NOT_IN_NAME = ("name=", "runs_dir=", "tracker=", "hydra.", "hydra/")
"""Overrides that say where a run is stored and shown, so they are left out of its default name."""


def train_new_run(
    config: Config, tree: Mapping[str, Any], overrides: Sequence[str], *, command: list[str], console: Console
) -> Result:
    """Create a run directory, named by the config or by the overrides, and train in it. tree: the composed config. command: for
    environment.json. Raises the errors of `run`."""
    diff = yaml_files.differences(tree)
    for note in warnings(config, diff):
        print_message(console, f"note: {note}")
    named = [text for text in overrides if not text.lstrip("+~").startswith(NOT_IN_NAME)]
    name = config.name or rundir.default_name(named)
    with ExitStack() as held:

        def make_directory(files: Mapping[str, str]) -> Path:
            hold = lambda directory: held.enter_context(lock.held(directory))  # noqa: E731
            directory = rundir.create_run_directory(Path(config.runs_dir).expanduser(), name, files, prepare=hold)
            if directory.name != name and config.name:
                print_message(console, f"note: {directory.with_name(name)} already exists; using {directory}")
            return directory

        return run(config, make_directory=make_directory, diff=diff, command=command, console=console)
