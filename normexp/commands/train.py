"""`normexp train`: train a run, or a sweep with -m."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from normexp import __version__
from normexp.compose.argv import PRINTING_FLAGS, parse_argv
from normexp.compose.compose import compose_tree, is_multirun, print_with_hydra
from normexp.compose.overrides import validate_overrides
from normexp.compose.seeds import expand_seeds
from normexp.compose.validate import validate
from normexp.config import Config


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
    return _run(validate(plain), plain, overrides, command=["normexp", "train", *argv], quiet=quiet)


def _run(config: Config, plain: Mapping[str, Any], overrides: Sequence[str], *, command: list[str], quiet: bool) -> int:
    from normexp.sinks.progress_bar import STATUS_REFRESH_RATE, RunConsole

    console = RunConsole(quiet=quiet)
    with console.status("loading torch", refresh_per_second=STATUS_REFRESH_RATE):
        from normexp.commands.run_summary import print_summary
        from normexp.training.new_run import train_new_run
    result = train_new_run(config, plain, overrides, command=command, console=console)
    return print_summary(result, RunConsole() if quiet else console, command=command, quiet=quiet)
