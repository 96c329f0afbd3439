"""Names of sweeps and runs. They depend only on the overrides, so the same command finds its runs again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from normexp.config import Config
from normexp.rundir import slug

NOT_IN_NAMES = ("name", "runs_dir", "data_dir", "jobs", "objective", "hydra", "experiment")
"""Keys that say where and how a sweep runs, or that all its runs share."""


def run_name(overrides: Iterable[str]) -> str:
    """A run's name such as 'norm=bn_lr=0.1_seed=0'. The order of the overrides doesn't matter."""
    ordered = sort_overrides(override for override in overrides if _head(override) not in NOT_IN_NAMES)
    seeds = [override for override in ordered if _key(override) == "seed"]
    return "_".join(filter(None, [slug(o for o in ordered if o not in seeds), slug(seeds)])) or "defaults"


def sweep_name(overrides: Iterable[str], experiment: str | None) -> str:
    """The default name of a sweep, from the overrides on its command line."""
    shown = sort_overrides(override for override in overrides if _head(override) not in NOT_IN_NAMES)
    return "_".join(filter(None, [experiment and slug([experiment]), slug(shown)])) or "defaults"


def sort_overrides(overrides: Iterable[str]) -> list[str]:
    """Sort overrides by the order of the config's keys, with the seed last."""
    return sorted(overrides, key=_rank)


def short_labels(names: Iterable[str]) -> dict[str, str]:
    """Short labels of runs, such as 'norm=bn seed=0': the overrides in a name that not all names share."""
    tokens = {name: name.split("_") for name in names}
    shared = set.intersection(*map(set, tokens.values())) if len(tokens) > 1 else set()
    return {name: " ".join(t for t in parts if t not in shared) or name for name, parts in tokens.items()}


def _rank(override: str) -> tuple[bool, int, str]:
    fields: Sequence[str] = [field.name for field in dataclasses.fields(Config)]
    head = _head(override)
    return _key(override) == "seed", fields.index(head) if head in fields else len(fields), _key(override)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _head(override: str) -> str:
    return _key(override).split(".")[0].split("/")[0]
