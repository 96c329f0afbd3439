"""Outcome of a run: whether it is finished, whether its config has changed since, and its objective for an optimizer."""

import dataclasses
import functools
import math
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from normexp import NUMERICS, rundir
from normexp.compose.choices import NOT_HYPERPARAMETERS, with_later_keys
from normexp.config import GROUPS, RESULT_INDEPENDENT_KEYS, Config, as_tree, flatten, show, yaml_files
from normexp.metrics import higher_is_better
from normexp.rundir import atomic
from normexp.sweeps.names import key_of


def run_state(directory: Path) -> rundir.State | None:
    """The state of a run; None if it has no readable status."""
    with suppress(OSError, ValueError):
        state: rundir.State = rundir.read_status(directory)["state"]
        return state
    return None


def is_finished(directory: Path) -> bool:
    """Whether a run needs no more training."""
    return run_state(directory) in ("completed", "diverged")


def has_progress(directory: Path) -> bool:
    """Whether a run has a result or a checkpoint, so a run with another config must not overwrite it."""
    return is_finished(directory) or any(directory.glob("checkpoint*.pt"))


def changed_keys(directory: Path, config: Config, *, given: Collection[str] = ()) -> list[str]:
    """The differences between a run's stored config and a new one, such as 'epochs (3, now 5)'. given: its `given_keys`.

    'numerics (1, now 2)' means that it was trained by a version of normexp whose results differ. For a finished run, a new
    default of a key that only decides what is measured and when, such as eval_every, is not a difference, unless it is given.
    Empty if the run has no result and no checkpoint.
    """
    if not has_progress(directory):
        return []
    try:
        old = with_later_keys(flatten(rundir.read_config(directory)))
    except (OSError, ValueError) as error:
        return [f"config.yaml ({type(error.__cause__ or error).__name__})"]
    new = flatten(dataclasses.asdict(config))
    version = rundir.numerics(directory)
    changed = [key for key in new if key in old and key not in RESULT_INDEPENDENT_KEYS and old[key] != new[key]]
    measuring = [key for key in changed if key.partition(".")[0] in NOT_HYPERPARAMETERS]
    if measuring and is_finished(directory):
        set_now = {*flatten(yaml_files.differences(as_tree(config))), *given}
        changed = [key for key in changed if key in set_now or key not in measuring]
    return [f"numerics ({version}, now {NUMERICS})"] * (version != NUMERICS) + [
        f"{key}{'.name' if key in GROUPS else ''} ({show(old[key])}, now {show(new[key])})" for key in changed
    ]


def given_keys(overrides: Iterable[str], sources: Iterable[Any]) -> set[str]:
    """The keys that overrides and the file of their experiment set, also to defaults. sources: Hydra's folders of configs, and
    others without an absolute path."""
    values = {key_of(text): text.partition("=")[2] for text in overrides}
    folders = [Path(source.path) for source in sources if Path(source.path).is_absolute()]
    paths = [folder / "experiment" / f"{values.get('experiment')}.yaml" for folder in folders]
    return values.keys() | {
        key for path in paths if path.is_file() for key in _file_keys(path, path.stat().st_mtime_ns)
    }


@functools.lru_cache(maxsize=4)
def _file_keys(path: Path, changed_at: int) -> frozenset[str]:
    """The keys that the file of a config sets. changed_at: only for the cache; all runs of a sweep have the same experiment."""
    tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return frozenset(flatten(cast(dict[str, Any], tree)) if isinstance(tree, dict) else ())


def set_aside(directory: Path) -> Path:
    """Move a run into .replaced, a folder that nothing reads, to make room for one with another config; returns its new path."""
    aside = directory.parent / ".replaced"
    with atomic.writing(aside):
        aside.mkdir(exist_ok=True)
    taken = set(aside.iterdir())
    target = next(path for n in count(1) if (path := aside / f"{directory.name}-{n}") not in taken)
    with atomic.writing(target):
        return directory.rename(target)


def objective_value(directory: Path, tag: str) -> float:
    """The final value of a run's metric, for an optimizer.

    The worst possible value for a run that diverged, failed or can't be trained; NaN for one that has not ended.
    """
    try:
        status = rundir.read_status(directory)
    except (OSError, ValueError):
        return math.nan
    value = status["metrics"].get(tag)
    if status["state"] == "completed" and value is not None:
        return float(value)
    if status["state"] in ("running", "interrupted"):
        return math.nan
    return 0.0 if higher_is_better(tag) else math.inf
