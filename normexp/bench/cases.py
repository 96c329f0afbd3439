"""Plan the measurements: which norms in which models at which batch sizes. Does not import torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from normexp.compose.choices import CHOICES, known_keys
from normexp.compose.compose import compose_tree, quoted
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, read, show
from normexp.models import MODELS
from normexp.norms import NORMS

REFERENCE = "none"

LIST_KEYS = ("model", "norm", "batch_size")  # keys that may have several values
ACCEPTED_KEYS = (
    *(*LIST_KEYS, "data", "weight", "init", "activation", "noise"),
    *("dropout", "dropout_layers", "dropout_at", "dropout_scaled"),
    *("seed", "device", "threads", "amp", "matmul_precision"),
    *("data.path", "data.size", "data.color"),  # which determine the shape of an image
)
"""Keys that affect the measurement, in addition to the keys of the groups `model`, `norm`, `weight` and `init`."""

MAX_VALUES = 100  # of a key, since range(...) can have any length
BATCH_SIZES = (8, 32, 128)
DEFAULT_DATA = {
    "resnet": "cifar10",
    "vgg": "cifar10",
}  # data set with the image shape for a model; MNIST for all others


@dataclass(frozen=True)
class Case:
    """A model at a batch size, with the config of each norm that works in it. The first is `none`, the reference."""

    model: str
    data: str
    batch_size: int
    norms: dict[str, Config]


@dataclass(frozen=True)
class Skipped:
    """A combination that can't be measured. reason: a sentence to print."""

    model: str
    norm: str
    batch_size: int
    reason: str


def plan_cases(overrides: Sequence[str]) -> tuple[list[Case], list[Skipped]]:
    """Combine the models, norms and batch sizes of validated overrides. `none` is always included.

    A key that only some models or norms have (`norm.groups`) applies to those. Raises ConfigError for keys without effect, and if
    none of the requested norms can be measured.
    """
    values = _list_values(overrides)
    requested = _names(values["norm"], default=NORMS)
    models = _names(values["model"], default=MODELS)
    norms = [name for name in NORMS if name in requested or name == REFERENCE]
    for size in values["batch_size"]:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"batch_size={show(size)}: batch_size must be an integer >= 1.")
    sizes = sorted(set(values["batch_size"])) or BATCH_SIZES
    fixed = [override for override in overrides if _key(override) not in LIST_KEYS]
    _check_keys(fixed, models, norms)
    # Composing takes 0.1 s. Norms and models are independent, so there is no need to compose every pair.
    trees = {model: _compose(model, REFERENCE, fixed) for model in models}
    groups = {norm: _compose(models[0], norm, fixed)["norm"] for norm in norms}

    cases: list[Case] = []
    skipped: list[Skipped] = []
    for model, size in product(models, sizes):
        configs: dict[str, Config] = {}
        for norm in norms:
            try:
                configs[norm] = validate({**trees[model], "norm": groups[norm], "batch_size": size})
            except ConfigError as error:
                skipped.append(Skipped(model, norm, size, str(error)))
        if REFERENCE in configs:
            cases.append(Case(model, configs[REFERENCE].data.name, size, configs))
    if not any(norm in case.norms for case in cases for norm in requested):
        raise ConfigError(skipped[0].reason)
    return cases, skipped


def has_effect(key: str) -> bool:
    """Whether a key affects the measurement."""
    return key in ACCEPTED_KEYS or key.partition(".")[0] in ("model", "norm", "weight", "init")


def _compose(model: str, norm: str, fixed: Iterable[str]) -> dict[str, Any]:
    """Compose the config of a model and norm, with the fixed overrides that apply to them. Raises ConfigError for values of the
    wrong type or out of range: these are mistakes, while values that don't fit together only rule out a combination."""
    choices = {"model": model, "norm": norm}
    data = [] if "data" in map(_key, fixed) else [f"data={DEFAULT_DATA.get(model, 'mnist')}"]

    def applies(key: str) -> bool:
        group = key.partition(".")[0]
        return group not in choices or choices[group] in known_keys()[key]

    applicable = [override for override in fixed if applies(_key(override))]
    tree = compose_tree([f"model={quoted(model)}", f"norm={quoted(norm)}", *data, *applicable])
    read(tree, CHOICES)
    return tree


def _check_keys(fixed: Iterable[str], models: Sequence[str], norms: Sequence[str]) -> None:
    """Raise ConfigError for an override that affects none of the networks."""
    for override in fixed:
        key = _key(override)
        group = key.partition(".")[0]
        if not has_effect(key):
            raise ConfigError(
                f"{show(override)}: {show(key)} has no effect here. bench accepts {', '.join(ACCEPTED_KEYS)} and the keys of "
                "model, norm, weight and init."
            )
        if "${" in override:
            raise ConfigError(f"{show(override)}: bench accepts values only, no references to other keys.")
        choices = {"model": models, "norm": norms}.get(group, [])
        if "." in key and choices and not set(choices) & set(known_keys()[key]):
            having = " and ".join(f"{group}={choice}" for choice in known_keys()[key])
            raise ConfigError(f"{key} exists only with {having}.")


def _list_values(overrides: Sequence[str]) -> dict[str, list[Any]]:
    """The values of LIST_KEYS. Raises ConfigError if another key has several values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    values: dict[str, list[Any]] = {key: [] for key in LIST_KEYS}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, several, line = override.key_or_group, override.is_sweep_override(), show(override.input_line)
        if key not in LIST_KEYS:
            if several:
                raise ConfigError(f"{line}: only {', '.join(LIST_KEYS)} can have several values.")
            continue
        try:
            values[key] = list(islice(override.sweep_iterator(), MAX_VALUES + 1)) if several else [override.value()]
        except (HydraException, ValueError, ArithmeticError) as error:
            raise ConfigError(f"{line}: separate the values with commas, for example norm=bn,ln.") from error
        if not 0 < len(values[key]) <= MAX_VALUES:
            raise ConfigError(f"{line}: {key} needs 1 to {MAX_VALUES} values.")
    return values


def _names(values: Iterable[Any], *, default: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(getattr(value, "text", value) for value in values)) or list(default)


def _key(override: str) -> str:
    return override.partition("=")[0]
