"""Options of `normexp eval`. Doesn't import torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from normexp.config import Config, ConfigError, show, suggest
from normexp.config.reader import convert
from normexp.data import info
from normexp.models import layers
from normexp.norms import NORMS
from normexp.norms.bn import RunningConfig

DEFAULT_SEVERITY = 3

PATHS = ("data_dir", "data.path", "device")
"""Keys of the run's config that may get another value, since they don't change the result."""


@dataclass(frozen=True)
class EvaluationOptions:
    """split: train, val or test. statistics: those of norms with running statistics, or None if the norm has none.
    statistics_from: the data of recomputed ones; test is the (shifted) test data. severity: None for invert and without a shift.
    batch_size: number of samples that share batch statistics; None with other statistics. seed: of the shift's random numbers
    and of the order of the data, where it matters."""

    split: str
    statistics: str | None
    statistics_from: str
    batch_size: int | None
    fold: bool
    shift: str | None
    severity: int | None
    seed: int


TYPES: dict[str, tuple[Any, Mapping[str, float]]] = {
    "split": (Literal["test", "val", "train"], {}),
    "norm.statistics": (Literal["running", "recomputed", "batch"], {}),
    "statistics_from": (Literal["train", "test"], {}),
    "batch_size": (int, {"minimum": 1, "maximum": float("inf"), "above": float("-inf"), "below": float("inf")}),
    "fold": (bool, {}),
    "shift": (Literal["invert", "contrast", "brightness", "blur", "noise", "rotate"] | None, {}),
    "shift.severity": (int, {"minimum": 1, "maximum": 5, "above": float("-inf"), "below": float("inf")}),
    "seed": (int, {"minimum": 0, "maximum": float("inf"), "above": float("-inf"), "below": float("inf")}),
}


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """Typed values of words such as fold=true. Raises ConfigError for unknown keys and wrong values."""
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"{show(word)}: eval takes one run, and options such as split=val.")
        if key in given:
            raise ConfigError(f"{key} is given twice.")
        if key in PATHS:
            given[key] = text
        elif key in TYPES:
            given[key] = convert(_value(text), TYPES[key][0], key, TYPES[key][1])
        else:
            known = [*TYPES, *PATHS]
            meant = [name for name in known if name.endswith(f".{key}")]
            hint = f" Did you mean {meant[0]}?" if meant else suggest(key, known)
            raise ConfigError(f"Unknown option {show(key)}.{hint} eval takes {', '.join(known)}.")
    return given


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    return int(text) if text.isdecimal() and len(text) < 20 else text


def evaluation_options(given: Mapping[str, Any], config: Config) -> EvaluationOptions:
    """The options for a run, checked against its config. Raises ConfigError for those that can't work together."""
    split, shift = given.get("split", "test"), given.get("shift")
    severity, source = given.get("shift.severity"), given.get("statistics_from")
    if severity is not None and shift is None:
        raise ConfigError(f"shift.severity={severity} needs a shift, such as shift=blur.")
    if severity is not None and shift == "invert":
        raise ConfigError("shift=invert has no severity; leave out shift.severity.")
    if shift is not None and len(info(config.data).shape) != 3:
        raise ConfigError(f"shift={shift} is for images, but data={config.data.name} has vectors.")
    statistics = given.get("norm.statistics")
    if not isinstance(config.norm, RunningConfig):
        for key in ("norm.statistics", "statistics_from"):
            if key in given:
                raise ConfigError(f"{key} is for bn and brn, not for norm={config.norm.name}.")
    else:
        statistics = statistics or ("recomputed" if source else config.norm.statistics)
        if source and statistics != "recomputed":
            raise ConfigError(f"statistics_from={source} needs norm.statistics=recomputed.")
    if source == "test" and split != "test":
        raise ConfigError(f"statistics_from=test needs split=test, but split is {split}.")
    if shift is not None and shift != "invert" and severity is None:
        severity = DEFAULT_SEVERITY
    fold, seed = given.get("fold", False), given.get("seed", config.seed)
    if fold and config.norm.name == "none":
        raise ConfigError("fold=true: norm=none has no batch norm to fold.")
    if fold and statistics == "batch":
        raise ConfigError("fold=true needs norm.statistics=running or recomputed: batch statistics can't be folded.")
    size = _batch_size(given, config, statistics)
    return EvaluationOptions(split, statistics, source or "train", size, fold, shift, severity, seed)


def _batch_size(given: Mapping[str, Any], config: Config, statistics: str | None) -> int | None:
    """Samples that share batch statistics, by default as in training. None with other statistics."""
    if statistics != "batch":
        if "batch_size" in given:
            raise ConfigError("batch_size is for norm.statistics=batch: with other statistics, it changes nothing.")
        return None
    size: int = given.get("batch_size", config.micro_batch_size)
    for plan in layers(config):
        site = plan.site("norm")
        if site and (problem := NORMS[config.norm.name].problem(config.norm, site, size)):
            raise ConfigError(
                f"batch_size={size}: norm={config.norm.name} can't work in layer {plan.name}: {problem[0]}."
            )
    return size


def with_statistics(config: Config, statistics: str | None) -> Config:
    """The config with these `norm.statistics`."""
    return config if statistics is None else replace(config, norm=replace(config.norm, statistics=statistics))  # type: ignore[call-arg]
