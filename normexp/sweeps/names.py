"""Names of sweeps and runs. They depend only on the overrides, so the same command finds its runs again."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from normexp.config import Config
from normexp.rundir import slug

SHARED_KEYS = ("name", "runs_dir", "data_dir", "jobs", "objective", "tracker", "hydra", "experiment")
"""Keys with one value for the whole sweep. Names leave them out."""

FIELDS = [field.name for field in dataclasses.fields(Config)]


def run_name(overrides: Iterable[str]) -> str:
    """A run's name such as 'norm=bn_lr=0.1_seed=0'. The order of the overrides doesn't matter."""
    ordered = _named(overrides)
    seeds = [override for override in ordered if key_of(override) == "seed"]
    return "_".join(filter(None, [slug(o for o in ordered if o not in seeds), slug(seeds)])) or "defaults"


def sweep_name(overrides: Iterable[str], experiment: str | None, *, first: Collection[str] = ()) -> str:
    """The default name of a sweep, from the overrides on its command line. first: those that a shortened name must show."""
    ordered = sorted(_named(overrides), key=lambda override: override not in first)
    return "_".join(filter(None, [experiment and slug([experiment]), slug(ordered)])) or "defaults"


def sort_overrides(overrides: Iterable[str]) -> list[str]:
    """Sort overrides by the order of the config's keys, with the seed last."""

    def rank(override: str) -> tuple[bool, int, str]:
        key, head = key_of(override), _head(override)
        return key == "seed", FIELDS.index(head) if head in FIELDS else len(FIELDS), key

    return sorted(overrides, key=rank)


def labels(overrides: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Labels of a sweep's runs, such as 'norm=bn seed=0', by name: the overrides that not all runs share.

    overrides: of each run, by name. A key of a choice, such as norm.groups, is left out if all runs with that choice share it.
    """
    named = {name: _named(own) for name, own in overrides.items()}
    chosen = {name: {key_of(text): text for text in own} for name, own in named.items()}
    shared = set()
    for text in {text for own in named.values() for text in own} if len(named) > 1 else ():
        group = _head(text) if _head(text) != key_of(text) else ""
        having = {chosen[name].get(group) for name, own in named.items() if text in own}
        if not having & {chosen[name].get(group) for name, own in named.items() if text not in own}:
            shared.add(text)
    return {name: " ".join(text for text in own if text not in shared) or name for name, own in named.items()}


def short_labels(names: Iterable[str]) -> dict[str, str]:
    """`labels` from the names alone, in which long values are cut off."""
    tokens = {name: name.split("_") for name in names}
    shared = set.intersection(*map(set, tokens.values())) if len(tokens) > 1 else set()
    return {name: " ".join(t for t in parts if t not in shared) or name for name, parts in tokens.items()}


def _named(overrides: Iterable[str]) -> list[str]:
    return sort_overrides(override for override in overrides if _head(override) not in SHARED_KEYS)


def key_of(override: str) -> str:
    """The key that an override sets."""
    return override.partition("=")[0].lstrip("+~")


def _head(override: str) -> str:
    return key_of(override).split(".")[0].split("/")[0]
