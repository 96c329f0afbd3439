"""The names of sweeps and their runs: they depend on the overrides alone, so that the same command finds its runs again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from normexp.config import Config
from normexp.rundir import slug

NOT_IN_NAMES = ("name", "runs_dir", "data_dir", "jobs", "objective", "hydra", "experiment")
"""Keys that say where and how a sweep runs, or that all of its runs share."""


def run_name(overrides: Iterable[str]) -> str:
    """'norm=bn_lr=0.1_seed=0': in the order of the config, whatever that of the command line; the seed last."""
    ordered = in_order(override for override in overrides if _head(override) not in NOT_IN_NAMES)
    seeds = [override for override in ordered if _key(override) == "seed"]
    return "_".join(filter(None, [slug(o for o in ordered if o not in seeds), slug(seeds)])) or "defaults"


def sweep_name(overrides: Iterable[str], experiment: str | None) -> str:
    """The name of a sweep that was given none, from what stands on the command line."""
    shown = in_order(override for override in overrides if _head(override) not in NOT_IN_NAMES)
    return "_".join(filter(None, [experiment and slug([experiment]), slug(shown)])) or "defaults"


def in_order(overrides: Iterable[str]) -> list[str]:
    """Overrides in the order of the config's keys, the seed last."""
    return sorted(overrides, key=_rank)


def labels(names: Iterable[str]) -> dict[str, str]:
    """For each run's name the overrides in it that not all of them have: 'norm=bn seed=0'."""
    tokens = {name: name.split("_") for name in names}
    shared = set.intersection(*map(set, tokens.values())) if len(tokens) > 1 else set()
    return {name: " ".join(t for t in found if t not in shared) or name for name, found in tokens.items()}


def _rank(override: str) -> tuple[bool, int, str]:
    fields: Sequence[str] = [field.name for field in dataclasses.fields(Config)]
    head = _head(override)
    return _key(override) == "seed", fields.index(head) if head in fields else len(fields), _key(override)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _head(override: str) -> str:
    return _key(override).split(".")[0].split("/")[0]
