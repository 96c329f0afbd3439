"""Names of sweeps and runs. They depend only on the overrides, so the same command finds its runs again."""

import dataclasses
from collections.abc import Iterable

from normexp.config import Config
from normexp.rundir import slug

SHARED_KEYS = ("name", "runs_dir", "data_dir", "jobs", "objective", "hydra", "experiment")
"""Keys with one value for the whole sweep. Names leave them out."""

FIELDS = [field.name for field in dataclasses.fields(Config)]


def run_name(overrides: Iterable[str]) -> str:
    """A run's name such as 'norm=bn_lr=0.1_seed=0'. The order of the overrides doesn't matter."""
    ordered = _named(overrides)
    seeds = [override for override in ordered if _key(override) == "seed"]
    return "_".join(filter(None, [slug(o for o in ordered if o not in seeds), slug(seeds)])) or "defaults"


def sweep_name(overrides: Iterable[str], experiment: str | None) -> str:
    """The default name of a sweep, from the overrides on its command line."""
    return "_".join(filter(None, [experiment and slug([experiment]), slug(_named(overrides))])) or "defaults"


def sort_overrides(overrides: Iterable[str]) -> list[str]:
    """Sort overrides by the order of the config's keys, with the seed last."""

    def rank(override: str) -> tuple[bool, int, str]:
        key, head = _key(override), _head(override)
        return key == "seed", FIELDS.index(head) if head in FIELDS else len(FIELDS), key

    return sorted(overrides, key=rank)


def short_labels(names: Iterable[str]) -> dict[str, str]:
    """Short labels of runs, such as 'norm=bn seed=0': the overrides in a name that not all names share."""
    tokens = {name: name.split("_") for name in names}
    shared = set.intersection(*map(set, tokens.values())) if len(tokens) > 1 else set()
    return {name: " ".join(t for t in parts if t not in shared) or name for name, parts in tokens.items()}


def _named(overrides: Iterable[str]) -> list[str]:
    return sort_overrides(override for override in overrides if _head(override) not in SHARED_KEYS)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _head(override: str) -> str:
    return _key(override).split(".")[0].split("/")[0]
