"""`normexp train`: Hydra composes the config, training runs it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp import __version__, rundir
from normexp.compose.compose import compose_tree, composing_errors, explain, hydra_with
from normexp.compose.overrides import Arguments, arrange, check
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, yaml_files
from normexp.models.describe import describe, markdown, warnings
from normexp.rundir import lock

if TYPE_CHECKING:
    from normexp.training.run import Result

OWN = ("name=", "runs_dir=", "hydra.", "hydra/")
"""Overrides that say where a run goes, not what it is: left out of its name."""


def main(argv: list[str]) -> int:
    """Run the command with the words behind `train`; returns the exit code. Raises ConfigError for what a user can mend."""
    arguments = arrange(argv)
    if {"-h", "--help"} & set(arguments.flags):
        from normexp.commands.help import train_help

        train_help(arguments)
        return 0
    if "--version" in arguments.flags:
        print(f"normexp {__version__}")
        return 0
    sweeps = arguments.multirun or _is_sweeping_experiment(arguments)
    overrides = check(arguments, sweeps=sweeps)
    if sweeps and not arguments.prints:
        from normexp.sweeps.plan import sweep

        return sweep(overrides, config_dir=arguments.config_dir, arguments=argv)
    if arguments.prints:
        _print(arguments, overrides)
        return 0
    plain = compose_tree(overrides, arguments.config_dir)
    config = validate(plain)
    name = config.name or rundir.default_name([each for each in overrides if not each.lstrip("+~").startswith(OWN)])
    return exit_code(_run(config, plain, name, command=["normexp", "train", *argv]))


def _is_sweeping_experiment(arguments: Arguments) -> bool:
    """Whether an experiment is chosen that makes a sweep: its file, or one that it takes over, has Hydra's mode MULTIRUN."""
    folder = arguments.config_dir
    if not any(override.startswith("experiment=") for override in arguments.overrides) or (
        folder and not folder.is_dir()
    ):
        return False
    from normexp.sweeps.plan import is_sweep

    return is_sweep(arguments.overrides, arguments.config_dir)


def _print(arguments: Arguments, overrides: list[str]) -> None:
    """What Hydra prints about the config and about itself."""
    from hydra._internal.utils import get_args_parser
    from hydra.types import RunMode

    parser = get_args_parser()
    args = parser.parse_args([*arguments.flags, *overrides])
    with hydra_with(arguments.config_dir) as app:
        try:
            if args.hydra_help:
                app.hydra_help(config_name="train", args_parser=parser, args=args)
            elif args.cfg:
                app.show_cfg("train", overrides, args.cfg, args.package, args.resolve)
            else:
                app.compose_config(
                    "train", overrides, RunMode.RUN
                )  # some of what follows doesn't compose, and so checks nothing
                app.show_info(args.info, config_name="train", overrides=overrides)
        except composing_errors() as error:
            raise ConfigError(explain(error)) from error


def _run(config: Config, plain: Mapping[str, Any], name: str, *, command: list[str]) -> Result:
    from normexp.commands.run_summary import closing
    from normexp.sinks.progress_bar import RunConsole
    from normexp.training.run import run

    diff, console = yaml_files.differences(plain), RunConsole()
    for note in warnings(config, diff):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    with ExitStack() as held:

        def make_directory(files: Mapping[str, str]) -> Path:
            def hold(directory: Path) -> None:
                held.enter_context(lock.held(directory))

            directory = rundir.create(Path(config.runs_dir).expanduser(), name, files, prepare=hold)
            if directory.name != name and config.name:
                taken = directory.with_name(name)
                console.print(f"note: {taken} is there already; this is {directory}", soft_wrap=True, markup=False)
            return directory

        result = run(
            config,
            make_directory=make_directory,
            diff=diff,
            command=command,
            console=console,
            texts={"layers": markdown(describe(config))},
        )
    closing(result, console)
    return result


def exit_code(result: Result) -> int:
    match result.state:
        case "interrupted":
            return 128 + (result.signal or 2)
        case "failed":
            return 1
    return 0
