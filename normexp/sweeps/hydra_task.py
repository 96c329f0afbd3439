"""The task function that a launcher calls for each run of a sweep, on whatever machine."""

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
from normexp.sweeps.outcome import changed_keys, has_progress, is_finished, objective_value, run_state, set_aside
from normexp.sweeps.spawn import train_with_retry

if TYPE_CHECKING:
    from omegaconf import DictConfig

SESSION_VARIABLE = "NORMEXP_SESSION"
"""Environment variable with the path of the session file. Hydra sets it around each run, with every launcher."""


def task(tree: DictConfig) -> float:
    """Train one run of a sweep, unless it is finished or another process trains it; returns its objective.

    A failure is recorded in the run's directory and never raised: with some launchers an exception would end other runs.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    session = read_session(Path(os.environ[SESSION_VARIABLE]))
    if session is None:
        return math.nan
    plain = cast(dict[str, Any], OmegaConf.to_container(tree, resolve=True))
    name = plain["name"] if session.named else run_name(HydraConfig.get().overrides.task)
    directory = Path(HydraConfig.get().sweep.dir) / name
    train_if_needed(
        directory, plain, session, stopping=lambda: read_session(Path(os.environ[SESSION_VARIABLE])) is None
    )
    return objective_value(directory, plain["objective"])


def train_if_needed(
    directory: Path, tree: Mapping[str, Any], session: Session, *, stopping: Callable[[], bool]
) -> None:
    """Train a run in its directory, unless it is finished with the same config. tree: its composed config."""
    from normexp.compose.validate import validate

    try:
        config = validate(tree)
    except ConfigError as error:
        record_skipped(directory, str(error), tree)
        return
    if is_finished(directory) and not changed_keys(directory, config):
        return
    if has_progress(directory) and changed_keys(directory, config):
        with lock.held(directory) as free:
            # Checked again under the lock: another process may have moved it meanwhile.
            if free and has_progress(directory) and changed_keys(directory, config):
                set_aside(directory)
    with atomic.writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "config.yaml").exists():  # for a run that fails before training
        atomic.write_text(directory / "config.yaml", rundir.to_yaml(dataclasses.asdict(config)))
    # On a cluster the scheduler assigns the GPUs.
    reserves = session.local and config.device != "cpu"
    with gpus.reserved_gpu(directory.parent) if reserves else nullcontext() as gpu:
        train_with_retry(
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


def record_skipped(directory: Path, reason: str, tree: Mapping[str, Any] | None) -> None:
    """Record that a combination can't be trained, and why. tree: its config, if it could be composed.

    A run that was trained in the directory before is set aside.
    """
    if run_state(directory) not in (None, "skipped"):
        with lock.held(directory) as free:
            if not free:
                return
            set_aside(directory)
    with atomic.writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if tree is not None:
        atomic.write_text(directory / "config.yaml", rundir.to_yaml(tree))
    rundir.write_first_status(directory, "skipped", reason)
