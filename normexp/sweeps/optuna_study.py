"""`hydra/sweeper=optuna`: trials chosen by an optimizer, in a study that can be resumed."""

import copy
import warnings
from concurrent.futures.process import BrokenProcessPool
from typing import Any
from urllib.parse import quote

from hydra.core.plugins import Plugins
from omegaconf import open_dict

from normexp import NUMERICS
from normexp.config import ConfigError, show
from normexp.metrics import higher_is_better
from normexp.rundir import lock
from normexp.streams import stream_seed
from normexp.sweeps.hydra_task import hydra_context, task
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
    cfg, breakdowns = copy.deepcopy(plan.cfg), 0
    sweeper = cfg.hydra.sweeper
    seed = sweeper.sampler.get("seed")
    with lock.held(plan.folder) as free:
        if not free:
            pid = (lock.holder(plan.folder) or {}).get("pid", "unknown")
            raise ConfigError(f"The study is in use by process {pid}.")
        while (ended := _close_lost_trials(plan)) < plan.trials:
            with open_dict(sweeper):
                sweeper.n_trials = plan.trials - ended
                sweeper.n_jobs = plan.jobs
                sweeper.direction = "maximize" if higher_is_better(plan.cfg.objective) else "minimize"
                sweeper.params = None  # they are part of plan.overrides
                sweeper.max_failure_rate = 1.0  # a failed trial doesn't end the others
                sweeper.storage, sweeper.study_name = _storage_url(plan), STUDY_NAME
                if seed is not None:
                    sweeper.sampler.seed = stream_seed(seed, "optuna", ended) % 2**32  # NumPy seeds have 32 bits
            call: dict[str, Any] = {"hydra_context": hydra_context(plan.cfg, plan.loader), "task_function": task}
            plugin: Any = Plugins.instance().instantiate_sweeper(config=cfg, **call)
            plugin.setup(config=plan.cfg, **call)  # Hydra 1.4 refuses runs whose sweeper differs from that of the sweep
            tie_workers(plugin.sweeper.launcher)
            try:
                plugin.sweep(arguments=plan.overrides)
            except BrokenProcessPool as error:
                breakdowns += 1
                if breakdowns > plan.trials:
                    raise ConfigError(f"The worker processes keep dying: {str(error).splitlines()[0]}") from error
            else:
                if count_trials(plan) <= ended:
                    study = plan.folder / STUDY_FILE
                    raise ConfigError(f"No trial finished: {study} still has {ended}.")


def _storage_url(plan: Plan) -> str:
    """The URL of the study's file, percent-encoded, since SQLAlchemy would cut a plain path at a question mark."""
    return f"sqlite:///file:{quote(bytes(plan.folder / STUDY_FILE))}?uri=true"


def _close_lost_trials(plan: Plan) -> int:
    """Close the trials that a stopped command left running, and queue them again; returns the number of ended trials."""
    import optuna

    study = _load_study(plan)
    for trial in _trials(study, "RUNNING"):
        study._storage.set_trial_user_attr(trial._trial_id, CLOSED, True)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.enqueue_trial(trial.params)
    return count_trials(plan)


def count_trials(plan: Plan) -> int:
    """Number of trials of the study that ended, including failed ones."""
    return sum(CLOSED not in trial.user_attrs for trial in _trials(_load_study(plan), "COMPLETE", "FAIL"))


def describe_best(plan: Plan) -> str | None:
    """The best trial's value and parameters; None if no trial is complete."""
    study = _load_study(plan)
    if not _trials(study, "COMPLETE"):
        return None
    trial = study.best_trial
    return f"{trial.value:.4g} with {' '.join(f'{key}={show(value)}' for key, value in trial.params.items())}"


def _load_study(plan: Plan) -> Any:
    """The sweep's study, or None if it has not begun."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if (plan.folder / STUDY_FILE).exists():
        url = _storage_url(plan)
        if STUDY_NAME in [study.study_name for study in optuna.get_all_study_summaries(url)]:
            return optuna.load_study(study_name=STUDY_NAME, storage=url)
    return None


def _trials(study: Any, *states: str) -> list[Any]:
    """The trials of a study, which may be None, in any of the states."""
    return [trial for trial in study.trials if trial.state.name in states] if study else []
