"""`hydra/sweeper=optuna`: trials that an optimizer chooses, in a study that goes on where it was stopped."""

from __future__ import annotations

import warnings
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from normexp import NUMERICS
from normexp.config import ConfigError, show
from normexp.report.aggregate import higher_is_better
from normexp.rundir import lock
from normexp.streams import stream_seed
from normexp.sweeps.hydra_task import task
from normexp.sweeps.launch import tied

if TYPE_CHECKING:
    from normexp.sweeps.plan import Plan

FILE = "study.db"
"""The study's file (SQLite) in the sweep's directory."""

NAME = f"normexp-{NUMERICS}"
"""The study in it; the sweep's directory may be given another name. Trials of versions whose numbers differ are another study."""

CLOSED = "closed"
"""Marks trials of killed commands: they are not counted."""


def optimize(plan: Plan) -> None:
    """Make the study's trials as far as they are not made.

    The sweeper by itself takes n_trials for that many more, draws the same values again with the same seed, and leaves the
    trials of a killed command running for ever: hence the settings here. Run directories depend on the values alone, so that
    none is lost or overwritten: a trial that repeats another's values gets its result.
    """
    with lock.held(plan.folder) as free:
        if not free:
            raise ConfigError(
                f"Another command works on this study: process {(lock.holder(plan.folder) or {}).get('pid', 'unknown')}."
            )
        _optimize(plan)


def _optimize(plan: Plan) -> None:
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext
    from omegaconf import open_dict

    from normexp.sweeps.returns import callbacks

    sweeper = plan.cfg.hydra.sweeper
    wanted, seed = plan.trials, sweeper.sampler.get("seed")
    breakdowns = 0
    while (ended := _tidy(plan)) < wanted:
        with open_dict(sweeper):
            sweeper.n_trials = wanted - ended
            sweeper.n_jobs = plan.jobs
            sweeper.direction = "maximize" if higher_is_better(plan.cfg.objective) else "minimize"
            sweeper.params = None  # they are among the overrides
            sweeper.max_failure_rate = 1.0  # a trial that fails doesn't end the others
            sweeper.storage = _storage(plan)
            sweeper.study_name = NAME
            if seed is not None:
                sweeper.sampler.seed = stream_seed(seed, "optuna", ended) % 2**32  # NumPy's limit
        context = HydraContext(config_loader=plan.loader, callbacks=callbacks(plan.cfg))
        plugin: Any = Plugins.instance().instantiate_sweeper(config=plan.cfg, hydra_context=context, task_function=task)
        tied(plugin.sweeper.launcher)
        try:
            plugin.sweep(arguments=plan.overrides)
        except BrokenProcessPool as error:
            breakdowns += 1
            if breakdowns > wanted:
                raise ConfigError(f"The workers of the sweep keep dying: {str(error).splitlines()[0]}") from error
        else:
            if made(plan) <= ended:
                raise ConfigError(f"The sweep makes no progress: {plan.folder / FILE} has {ended} trials as before.")


def _storage(plan: Plan) -> str:
    """The URL of the study's file. SQLAlchemy ends a plain path at a question mark; SQLite decodes a percent-encoded one."""
    return f"sqlite:///file:{quote(bytes(plan.folder / FILE))}?uri=true"


def _tidy(plan: Plan) -> int:
    """How many trials came to an end. Those that did not, in a command that was stopped, are closed, and tried again."""
    import optuna
    from optuna.trial import TrialState

    study = _study(plan)
    for trial in study.get_trials(states=(TrialState.RUNNING,)) if study else []:
        study._storage.set_trial_user_attr(trial._trial_id, CLOSED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.enqueue_trial(trial.params)
    return made(plan)


def made(plan: Plan) -> int:
    """How many trials of the study came to an end, good or bad."""
    from optuna.trial import TrialState

    study = _study(plan)
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.FAIL)) if study else []
    return sum(CLOSED not in trial.user_attrs for trial in ended)


def best(plan: Plan) -> str | None:
    """The best trial's value and what it was made with; None where none is complete."""
    from optuna.trial import TrialState

    study = _study(plan)
    if study is None or not study.get_trials(states=(TrialState.COMPLETE,)):
        return None
    trial = study.best_trial
    return f"{trial.value:.4g} with {' '.join(f'{key}={show(value)}' for key, value in trial.params.items())}"


def _study(plan: Plan) -> Any:
    """The sweep's study; None where it has not begun."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not (plan.folder / FILE).exists():
        return None
    if NAME not in [each.study_name for each in optuna.get_all_study_summaries(_storage(plan))]:
        return None
    return optuna.load_study(study_name=NAME, storage=_storage(plan))
