"""What a launcher calls for each run of a sweep, wherever it launches it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from normexp import rundir
from normexp.config import ConfigError
from normexp.rundir import atomic, lock, process
from normexp.sweeps import gpus
from normexp.sweeps.job import Job
from normexp.sweeps.manifest import Session, read_session
from normexp.sweeps.names import run_name
from normexp.sweeps.outcome import changes, ended, objective, set_aside, state, worth_keeping
from normexp.sweeps.spawn import attempt

if TYPE_CHECKING:
    from omegaconf import DictConfig

SESSION = "NORMEXP_SESSION"
"""The environment variable with the path of the session's file: Hydra sets it around each run, with every launcher."""


def task(tree: DictConfig) -> float:
    """Train one run of a sweep, unless it is done or another process is at it; returns its objective.

    Whatever happens to it ends in its directory, never in an exception: with some launchers that would end other runs.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    session = read_session(Path(os.environ[SESSION]))
    if session is None:
        return math.nan
    plain = cast(dict[str, Any], OmegaConf.to_container(tree, resolve=True))
    name = plain["name"] if session.named else run_name(HydraConfig.get().overrides.task)
    directory = Path(HydraConfig.get().sweep.dir) / name
    take(directory, plain, session, stopping=lambda: read_session(Path(os.environ[SESSION])) is None)
    return objective(directory, plain["objective"])


def take(directory: Path, tree: Mapping[str, Any], session: Session, *, stopping: Callable[[], bool]) -> None:
    """Train the run of a composed config in its directory if it needs that."""
    from normexp.compose.validate import validate

    try:
        config = validate(tree)
    except ConfigError as error:
        skip(directory, str(error), tree)
        return
    if ended(directory) and not changes(directory, config):
        return
    if worth_keeping(directory) and changes(directory, config):
        with lock.held(directory) as free:
            if (
                free and worth_keeping(directory) and changes(directory, config)
            ):  # still: another process may have done it
                set_aside(directory)
    with atomic.writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "config.yaml").exists():  # so that a run that fails before it trains has one
        atomic.write_text(directory / "config.yaml", rundir.to_yaml(dataclasses.asdict(config)))
    # On a cluster the scheduler assigns the GPUs.
    reserves = session.local and config.device != "cpu"
    with gpus.reserved_gpu(directory.parent) if reserves else nullcontext() as gpu:
        attempt(
            Job(
                directory,
                dict(tree),
                list(session.command),
                session.threads,
                session.cwd,
                session.driver,
                process.identity(),
                gpu,
            ),
            stopping=stopping,
        )


def skip(directory: Path, reason: str, tree: Mapping[str, Any] | None) -> None:
    """Record that a combination can't be trained, and why. tree: its config, if it could be composed.

    What was trained there before, when it could be, is set aside.
    """
    if state(directory) not in (None, "skipped"):
        with lock.held(directory) as free:
            if not free:
                return
            set_aside(directory)
    with atomic.writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if tree is not None:
        atomic.write_text(directory / "config.yaml", rundir.to_yaml(tree))
    rundir.write_first_status(directory, "skipped", reason)
