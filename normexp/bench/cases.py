"""What there is to measure: which norms in which models, at which batch sizes, and which of them can't work. Without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from normexp.compose.choices import CHOICES
from normexp.compose.compose import compose_tree, quoted
from normexp.compose.overrides import known_keys
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, read, show
from normexp.models import MODELS
from normexp.norms import NORMS

REFERENCE = "none"

LISTS = ("model", "norm", "batch_size")
"""Keys that may have several values."""

KEYS = (
    *(*LISTS, "data", "init", "activation", "dropout", "dropout_layers", "dropout_at", "dropout_scaled", "noise"),
    *("seed", "device", "threads", "amp", "matmul_precision"),
)
"""Keys that say which network is measured, and where; beside them those of `model`, `norm` and `init`."""

MOST = 100
"""Values of a key."""

BATCH_SIZES = (8, 32, 128)
DATA = {"resnet": "cifar10"}
"""Whose images a model gets that is not measured on MNIST's, where `data` is not chosen."""


@dataclass(frozen=True)
class Case:
    """A model at a batch size, with the config of each norm that works in it. The first one is `none`, the reference."""

    model: str
    data: str
    batch_size: int
    norms: dict[str, Config]


@dataclass(frozen=True)
class Skipped:
    """A combination that can't be measured, and the sentence that says why."""

    model: str
    norm: str
    batch_size: int
    reason: str


def cases(overrides: Sequence[str]) -> tuple[list[Case], list[Skipped]]:
    """Every combination of the models, norms and batch sizes of checked overrides. `none` is always among the norms.

    A key that only some of the models or norms have (`norm.groups`) holds for those. Raises ConfigError for a key that has
    no effect here, and where none of what is asked for can be measured.
    """
    values = _values(overrides)
    asked = _names(values["norm"], list(NORMS))
    models, norms = (
        _names(values["model"], list(MODELS)),
        [name for name in NORMS if name in asked or name == REFERENCE],
    )
    sizes = _sizes(values["batch_size"])
    fixed = [text for text in overrides if _key(text) not in LISTS]
    _check_keys(fixed, models, norms)
    # The groups don't depend on one another, so that not every pair has to be composed, which takes a tenth of a second.
    trees = {model: _tree(model, REFERENCE, fixed) for model in models}
    groups = {norm: _tree(models[0], norm, fixed)["norm"] for norm in norms}

    found: list[Case] = []
    skipped: list[Skipped] = []
    for model, size in product(models, sizes):
        works: dict[str, Config] = {}
        for norm in norms:
            try:
                works[norm] = validate({**trees[model], "norm": groups[norm], "batch_size": size})
            except ConfigError as error:
                skipped.append(Skipped(model, norm, size, str(error)))
        if REFERENCE in works:
            found.append(Case(model, works[REFERENCE].data.name, size, works))
    if not any(norm in case.norms for case in found for norm in asked):
        raise ConfigError(skipped[0].reason)
    return found, skipped


def takes(key: str) -> bool:
    """Whether a key has an effect on what is measured."""
    return key in KEYS or key.partition(".")[0] in ("model", "norm", "init")


def _tree(model: str, norm: str, fixed: Sequence[str]) -> dict[str, Any]:
    """The composed config of one model and norm, with those of the other overrides whose keys it has. ConfigError for
    values of a wrong type or out of range."""
    chosen = {"model": model, "norm": norm}
    data = [] if any(_key(text) == "data" for text in fixed) else [f"data={DATA.get(model, 'mnist')}"]
    own = [text for text in fixed if _has(chosen, _key(text))]
    tree = compose_tree([f"model={quoted(model)}", f"norm={quoted(norm)}", *data, *own])
    read(tree, CHOICES)  # a value that is none is a mistake, one that fits badly a combination to leave out
    return tree


def _has(chosen: Mapping[str, str], key: str) -> bool:
    group = key.partition(".")[0]
    return group not in chosen or chosen[group] in known_keys()[key]


def _check_keys(fixed: Iterable[str], models: Sequence[str], norms: Sequence[str]) -> None:
    """ConfigError for an override that none of the networks has a use for."""
    for text in fixed:
        key = _key(text)
        group = key.partition(".")[0]
        if not takes(key):
            raise ConfigError(
                f"{show(text)}: {show(key)} has no effect on what is measured here; what has one is {', '.join(KEYS)} and the "
                "keys of model, norm and init."
            )
        if "${" in text:
            raise ConfigError(f"{show(text)}: bench takes values, no references to other keys.")
        chosen = {"model": models, "norm": norms}.get(group, [])
        if "." in key and chosen and not set(chosen) & set(known_keys()[key]):
            having = " and ".join(f"{group}={choice}" for choice in known_keys()[key])
            raise ConfigError(f"{key} is a key of {having} only.")


def _values(overrides: Sequence[str]) -> dict[str, list[Any]]:
    """The values of the keys that may have several. ConfigError where another key has."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    values: dict[str, list[Any]] = {key: [] for key in LISTS}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, several = override.key_or_group, override.is_sweep_override()
        if several and key not in LISTS:
            raise ConfigError(f"{show(override.input_line)}: only {', '.join(LISTS)} may have several values here.")
        if key in LISTS:
            try:
                values[key] = list(islice(override.sweep_iterator(), MOST + 1)) if several else [override.value()]
            except (HydraException, ValueError, ArithmeticError) as error:
                raise ConfigError(
                    f"{show(override.input_line)}: write the values with commas, such as norm=bn,ln."
                ) from error
            if not 0 < len(values[key]) <= MOST:
                raise ConfigError(f"{show(override.input_line)}: {key} takes from one to {MOST} values here.")
    return values


def _names(values: Iterable[Any], default: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(getattr(value, "text", value) for value in values)) or list(default)


def _sizes(values: Sequence[Any]) -> list[int]:
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"batch_size={show(value)}: batch_size must be a whole number of at least 1.")
    return sorted(set(values)) or list(BATCH_SIZES)


def _key(override: str) -> str:
    return override.partition("=")[0]
