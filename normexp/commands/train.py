"""`normexp train`: Hydra composes the config, training runs it."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from normexp import __version__, configs, lock, rundir
from normexp.commands.arguments import Arguments, arrange, check
from normexp.commands.compose import composing_errors, explain, resolved
from normexp.config import Config, ConfigError
from normexp.describe import describe, markdown, warnings

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from normexp.training.run import Result

OWN = ("name=", "runs_dir=", "hydra.", "hydra/")
"""Overrides that say where a run goes, not what it is: left out of its name."""


@dataclasses.dataclass
class Session:
    """What the task, which Hydra calls with nothing but a config, shares with the command."""

    command: list[str]
    result: Result | None = None
    refused: ConfigError | OSError | None = None


_session: Session | None = None


def main(argv: list[str]) -> int:
    """Run the command with the words behind `train`; returns the exit code. Raises ConfigError for what a user can mend."""
    global _session  # noqa: PLW0603 - Hydra's task takes a config and nothing else
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
        from normexp.commands.sweep import sweep

        return sweep(overrides, config_dir=arguments.config_dir, arguments=argv)
    _session = Session(["normexp", "train", *argv])
    _compose_and_run(arguments, overrides)
    if _session.refused is not None:
        raise _session.refused
    return 0 if _session.result is None else exit_code(_session.result)


def _is_sweeping_experiment(arguments: Arguments) -> bool:
    """Whether an experiment is chosen that makes a sweep: its file, or one that it takes over, has Hydra's mode MULTIRUN."""
    folder = arguments.config_dir
    if not any(override.startswith("experiment=") for override in arguments.overrides) or (
        folder and not folder.is_dir()
    ):
        return False
    from normexp.commands.sweep import is_sweep

    return is_sweep(arguments.overrides, arguments.config_dir)


def _compose_and_run(arguments: Arguments, overrides: list[str]) -> None:
    import hydra

    sys.argv = ["normexp", *arguments.flags, *overrides]
    command = hydra.main(version_base="1.3", config_path=str(configs.folder()), config_name="train")(_task)
    with _full_errors():
        try:
            command()
        except composing_errors() as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from None
            raise ConfigError(explain(error)) from error


@contextmanager
def _full_errors() -> Iterator[None]:
    """Hydra prints errors itself and exits, unless it is asked to raise them."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _task(tree: DictConfig) -> None:
    """What Hydra calls: one run, whose outcome goes into the session."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from normexp.validate import validate

    assert _session is not None
    typed = cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task))  # with references as they are
    overrides = [override for override in typed if not override.startswith(OWN)]
    try:
        plain = resolved(tree)
        config = validate(plain)
        _session.result = _run(config, plain, config.name or rundir.default_name(overrides))
    except (ConfigError, OSError) as error:
        _session.refused = error  # Hydra would print lines of its own about an exception that passes through it


def _run(config: Config, plain: Mapping[str, Any], name: str) -> Result:
    from normexp.commands.closing import closing
    from normexp.sinks.terminal import RunConsole
    from normexp.training.run import run

    assert _session is not None
    diff, console = configs.differences(plain), RunConsole()
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
            command=_session.command,
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
