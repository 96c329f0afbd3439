"""`hydra/sweeper=optuna`: trials chosen by an optimizer, in a study that can be resumed."""

from __future__ import annotations

import warnings
from concurrent.futures.process import BrokenProcessPool
from typing import Any
from urllib.parse import quote

from normexp import NUMERICS
from normexp.config import ConfigError, show
from normexp.report.metrics import higher_is_better
from normexp.rundir import lock
from normexp.streams import stream_seed
from normexp.sweeps.hydra_task import task
from normexp.sweeps.launch import tie_workers
from normexp.sweeps.plan import Plan

STUDY_FILE = "study.db"
"""The study's file (SQLite) in the sweep's directory."""

STUDY_NAME = f"normexp-{NUMERICS}"
"""The name of the study in that file. Versions of normexp whose results differ have separate studies."""

CLOSED = "closed"
"""User attribute of trials whose command was killed; they are not counted."""


def optimize(plan: Plan) -> None:
    """Run trials until the study has as many as planned.

    Hydra's sweeper alone would add n_trials to those of the study, draw the same values again with the same seed, and leave
    trials of a killed command in the state RUNNING. Run directories depend on the values only, so a trial that repeats
    another's values gets that one's result.
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

    from normexp.sweeps.hydra_callbacks import sweep_callbacks

    sweeper = plan.cfg.hydra.sweeper
    wanted, seed = plan.trials, sweeper.sampler.get("seed")
    breakdowns = 0
    while (ended := _close_lost_trials(plan)) < wanted:
        with open_dict(sweeper):
            sweeper.n_trials = wanted - ended
            sweeper.n_jobs = plan.jobs
            sweeper.direction = "maximize" if higher_is_better(plan.cfg.objective) else "minimize"
            sweeper.params = None  # they are part of plan.overrides
            sweeper.max_failure_rate = 1.0  # a failed trial doesn't end the others
            sweeper.storage = _storage_url(plan)
            sweeper.study_name = STUDY_NAME
            if seed is not None:
                sweeper.sampler.seed = stream_seed(seed, "optuna", ended) % 2**32  # NumPy seeds have 32 bits
        context = HydraContext(config_loader=plan.loader, callbacks=sweep_callbacks(plan.cfg))
        plugin: Any = Plugins.instance().instantiate_sweeper(config=plan.cfg, hydra_context=context, task_function=task)
        tie_workers(plugin.sweeper.launcher)
        try:
            plugin.sweep(arguments=plan.overrides)
        except BrokenProcessPool as error:
            breakdowns += 1
            if breakdowns > wanted:
                raise ConfigError(f"The workers of the sweep keep dying: {str(error).splitlines()[0]}") from error
        else:
            if count_trials(plan) <= ended:
                raise ConfigError(
                    f"The sweep makes no progress: {plan.folder / STUDY_FILE} has {ended} trials as before."
                )


def _storage_url(plan: Plan) -> str:
    """The URL of the study's file, percent-encoded, since SQLAlchemy would cut a plain path at a question mark."""
    return f"sqlite:///file:{quote(bytes(plan.folder / STUDY_FILE))}?uri=true"


def _close_lost_trials(plan: Plan) -> int:
    """Close the trials that a stopped command left running, and queue them again; returns the number of ended trials."""
    import optuna
    from optuna.trial import TrialState

    study = _load_study(plan)
    for trial in study.get_trials(states=(TrialState.RUNNING,)) if study else []:
        study._storage.set_trial_user_attr(trial._trial_id, CLOSED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.enqueue_trial(trial.params)
    return count_trials(plan)


def count_trials(plan: Plan) -> int:
    """How many trials of the study ended, including failed ones."""
    from optuna.trial import TrialState

    study = _load_study(plan)
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.FAIL)) if study else []
    return sum(CLOSED not in trial.user_attrs for trial in ended)


def describe_best(plan: Plan) -> str | None:
    """The best trial's value and parameters; None if no trial is complete."""
    from optuna.trial import TrialState

    study = _load_study(plan)
    if study is None or not study.get_trials(states=(TrialState.COMPLETE,)):
        return None
    trial = study.best_trial
    return f"{trial.value:.4g} with {' '.join(f'{key}={show(value)}' for key, value in trial.params.items())}"


def _load_study(plan: Plan) -> Any:
    """The sweep's study, or None if it has not begun."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not (plan.folder / STUDY_FILE).exists():
        return None
    if STUDY_NAME not in [study.study_name for study in optuna.get_all_study_summaries(_storage_url(plan))]:
        return None
    return optuna.load_study(study_name=STUDY_NAME, storage=_storage_url(plan))
