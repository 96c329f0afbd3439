"""`normexp train`: train a run, or a sweep with -m."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from normexp import __version__, rundir
from normexp.compose.argv import PRINTING_FLAGS, parse_argv
from normexp.compose.compose import compose_tree, is_multirun, print_with_hydra
from normexp.compose.overrides import validate_overrides
from normexp.compose.seeds import expand_seeds
from normexp.compose.validate import validate
from normexp.config import Config, yaml_files
from normexp.console import print_message
from normexp.models.describe import warnings
from normexp.rundir import lock

NOT_IN_NAME = ("name=", "runs_dir=", "hydra.", "hydra/")
"""Overrides that say where a run is stored, so they are left out of its default name."""


def main(argv: list[str]) -> int:
    """Train, or print what the flags ask for; returns the exit code. Raises ConfigError for wrong arguments."""
    argv = expand_seeds(argv)
    arguments = parse_argv(argv)
    if arguments.has("-h", "--help"):
        from normexp.commands.help import train_help

        train_help(arguments)
        return 0
    if arguments.has("--version"):
        print(f"normexp {__version__}")
        return 0
    config_dir, quiet = arguments.config_dir, arguments.has("-q", "--quiet")
    has_experiment = any(override.startswith("experiment=") for override in arguments.overrides)
    sweeps = arguments.has("-m", "--multirun") or (has_experiment and is_multirun(arguments.overrides, config_dir))
    overrides = validate_overrides(arguments.overrides, config_dir, sweeps=sweeps)
    if arguments.has(*PRINTING_FLAGS):
        print_with_hydra(arguments, overrides)
        return 0
    if arguments.has("--dry-run"):
        from normexp.sweeps.dry_run import preview

        preview(overrides, config_dir, Console(), sweep=sweeps)
        return 0
    if sweeps:
        from normexp.sweeps.run_sweep import run_sweep

        return run_sweep(overrides, config_dir=config_dir, arguments=argv, quiet=quiet)
    plain = compose_tree(overrides, config_dir)
    config = validate(plain)
    named = [text for text in overrides if not text.lstrip("+~").startswith(NOT_IN_NAME)]
    name = config.name or rundir.default_name(named)
    return _run(config, plain, name, command=["normexp", "train", *argv], quiet=quiet)


def _run(config: Config, plain: Mapping[str, Any], name: str, *, command: list[str], quiet: bool) -> int:
    from normexp.sinks.progress_bar import STATUS_REFRESH_RATE, RunConsole

    diff, console = yaml_files.differences(plain), RunConsole(quiet=quiet)
    with console.status("loading torch", refresh_per_second=STATUS_REFRESH_RATE):
        from normexp.commands.run_summary import print_summary
        from normexp.training.run import run

    for note in warnings(config, diff):
        print_message(console, f"note: {note}")
    with ExitStack() as held:

        def make_directory(files: Mapping[str, str]) -> Path:
            hold = lambda directory: held.enter_context(lock.held(directory))  # noqa: E731
            directory = rundir.create_run_directory(Path(config.runs_dir).expanduser(), name, files, prepare=hold)
            if directory.name != name and config.name:
                print_message(console, f"note: {directory.with_name(name)} already exists; using {directory}")
            return directory

        result = run(config, make_directory=make_directory, diff=diff, command=command, console=console)
    return print_summary(result, RunConsole() if quiet else console, command=command, quiet=quiet)
