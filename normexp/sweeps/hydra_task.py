"""The task function that a launcher calls for each run of a sweep, on whatever machine."""

import math
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from normexp import rundir
from normexp.compose.compose import with_own_choices
from normexp.compose.loader import Loader
from normexp.compose.validate import validate
from normexp.config import ConfigError, as_tree
from normexp.rundir import atomic, lock, process
from normexp.sweeps import gpus
from normexp.sweeps.manifest import SESSION_VARIABLE, Job, Session, read_session
from normexp.sweeps.names import run_name
from normexp.sweeps.outcome import (
    changed_keys,
    given_keys,
    is_finished,
    objective_value,
    run_state,
    set_aside,
)
from normexp.sweeps.spawn import train_with_retry


class DropConfigs(Callback):
    """Drop the configs from a job's result, in the process that ran it: the driver keeps the results of all runs in memory."""

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None


def hydra_context(cfg: DictConfig, loader: Loader) -> HydraContext:
    """The context of Hydra's launchers and sweepers: loader, callbacks of the sweep's config, and DropConfigs."""
    callbacks = Callbacks(cfg)
    callbacks.callbacks.append(DropConfigs())
    return HydraContext(config_loader=loader, callbacks=callbacks)


def task(tree: DictConfig) -> float:
    """Train one run of a sweep, unless it is finished or another process trains it; returns its objective.

    A failure is recorded in the run's directory and never raised: with some launchers an exception would end other runs.
    """
    session_file = Path(os.environ[SESSION_VARIABLE])
    session = read_session(session_file)
    if session is None:
        return math.nan
    hydra = HydraConfig.get()
    plain = with_own_choices(cast(dict[str, Any], OmegaConf.to_container(tree, resolve=True)), hydra.runtime.choices)
    directory = Path(hydra.sweep.dir) / (plain["name"] if session.named else run_name(hydra.overrides.task))
    given = given_keys(hydra.overrides.task, hydra.runtime.config_sources)
    train_if_needed(directory, plain, session, lambda: read_session(session_file) is None, given)
    return objective_value(directory, plain["objective"])


def train_if_needed(
    directory: Path,
    tree: Mapping[str, Any],
    session: Session,
    stopping: Callable[[], bool],
    given: Collection[str] = (),
) -> None:
    """Train a run in its directory, unless it is finished with the same config: tree, whose `given_keys` are given."""
    try:
        config = validate(tree)
    except ConfigError as error:
        record_skipped(directory, str(error), tree)
        return
    if changed_keys(directory, config, given=given):
        with lock.held(directory) as free:
            # Checked again under the lock: another process may have moved it meanwhile.
            if free and changed_keys(directory, config, given=given):
                set_aside(directory)
    elif is_finished(directory):
        return
    with atomic.writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "config.yaml").exists():  # for a run that fails before training
        atomic.write_text(directory / "config.yaml", rundir.to_yaml(as_tree(config)))
    # On a cluster the scheduler assigns the GPUs.
    reserves = session.local and config.device != "cpu"
    with gpus.reserved_gpu(directory.parent) if reserves else nullcontext() as gpu:
        train_with_retry(Job(directory, dict(tree), session, process.identity(), gpu), stopping=stopping)


def record_skipped(directory: Path, reason: str, tree: Mapping[str, Any] | None) -> None:
    """Record that a combination can't be trained, and why. tree: its config, if it could be composed."""
    if run_state(directory) not in (None, "skipped"):  # a run was trained there before
        with lock.held(directory) as free:
            if not free:
                return
            set_aside(directory)
    with atomic.writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if tree is not None:
        atomic.write_text(directory / "config.yaml", rundir.to_yaml(tree))
    rundir.write_status(directory, "skipped", reason)
