"""`normexp train`: Hydra composes the config, training runs it."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from normexp import __version__, configs, rundir
from normexp.commands.arguments import Arguments, arrange, check
from normexp.commands.compose import composing_errors, explain
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
    sweep_name: str
    codes: list[int] = dataclasses.field(default_factory=list)
    refused: ConfigError | None = None
    sweep_folder: Path | None = None


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
    overrides = check(arguments)
    named = [override for override in overrides if not override.startswith(OWN)]
    _session = Session(["normexp", "train", *argv], rundir.default_name(named))
    try:
        _compose_and_run(arguments, overrides)
    except KeyboardInterrupt:
        if not _session.codes or _session.codes[-1] < 128:  # between two runs, or before the first
            raise
    if _session.refused is not None:
        raise _session.refused
    return max(_session.codes, default=0)


def _compose_and_run(arguments: Arguments, overrides: list[str]) -> None:
    import hydra
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("sweep_dir", _sweep_dir, replace=True)
    sys.argv = ["normexp", *arguments.flags, *overrides]
    command = hydra.main(version_base="1.3", config_path=str(configs.folder()), config_name="train")(_task)
    with _full_errors():
        try:
            command()
        except composing_errors() as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from None
            raise ConfigError(explain(error)) from error
        finally:
            if _session is not None and _session.sweep_folder is not None:
                _remove_if_unused(_session.sweep_folder)


def _remove_if_unused(sweep_folder: Path) -> None:
    """Take away the folder of a sweep in which no run could start: Hydra makes it before the first."""
    if sweep_folder.is_dir() and {path.name for path in sweep_folder.iterdir()} <= {"multirun.yaml"}:
        (sweep_folder / "multirun.yaml").unlink(missing_ok=True)
        sweep_folder.rmdir()
        with suppress(OSError):  # the folder of runs, where this was the first
            sweep_folder.parent.rmdir()


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


def _sweep_dir(runs_dir: str, name: str | None) -> str:
    assert _session is not None
    if name is not None:
        rundir.check_name(name)
    _session.sweep_folder = Path(runs_dir).expanduser() / (name or _session.sweep_name)
    return str(_session.sweep_folder)


def _task(tree: DictConfig) -> None:
    """What Hydra calls for each job: one run. Its outcome goes into the session; it never stops the other jobs."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from normexp.sinks.terminal import RunConsole

    assert _session is not None
    hydra_config = HydraConfig.get()
    job = [override for override in hydra_config.overrides.task if not override.startswith(OWN)]
    plain = cast(dict[str, Any], OmegaConf.to_container(tree, resolve=True))
    console = RunConsole()
    sweep = hydra_config.mode == RunMode.MULTIRUN
    if sweep:
        console.print(", ".join(job) or "the defaults", style="bold", markup=False, highlight=False, soft_wrap=True)
    try:
        from normexp.validate import validate

        config = validate(plain)
        if sweep:
            parent, name = Path(hydra_config.sweep.dir), rundir.slug(job) or "defaults"
        else:
            parent, name = Path(config.runs_dir), config.name or rundir.default_name(job)
        result = _run(config, plain, parent.expanduser(), name, console)
    except ConfigError as error:
        # Hydra would print lines of its own about an exception that passes through it.
        if sweep:
            print(f"normexp: {error}", file=sys.stderr)
            _session.codes.append(2)
        else:
            _session.refused = error
        return
    _session.codes.append(_exit_code(result))
    if result.state == "interrupted":
        raise KeyboardInterrupt  # the whole sweep was meant, not this job alone


def _run(config: Config, plain: Mapping[str, Any], parent: Path, name: str, console: Any) -> Result:
    from normexp.training.run import run

    assert _session is not None
    diff = configs.differences(plain)
    for note in warnings(config, diff):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    result = run(
        config,
        parent=parent,
        name=name,
        diff=diff,
        command=_session.command,
        console=console,
        texts={"layers": markdown(describe(config))},
    )
    from normexp.commands.closing import closing

    closing(result, console)
    return result


def _exit_code(result: Result) -> int:
    match result.state:
        case "interrupted":
            return 128 + (result.signal or 2)
        case "failed":
            return 1
    return 0
