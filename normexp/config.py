"""The typed config of a run, and how a plain mapping becomes one.

Defaults and the meaning of each key stand in the yaml files under configs/, types and ranges here. A group (model,
norm, ...) has a base class here; each choice subclasses it in its own file, beside the code that it configures.
Imports nothing heavy: help and completion read this module.
"""

import dataclasses
import math
import re
import sys
import types
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class ConfigError(ValueError):
    """What a user can mend: one sentence that says what is wrong and what would work."""


class InvalidValueError(ConfigError):
    """A value that its key can never have, whatever the rest of the config is: of a wrong type, or out of range."""


class ForbiddenKeyError(ConfigError):
    """A key that no config may set."""


def number(
    *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf, most: float = math.inf
) -> Any:
    """A field whose number lies in (above, below) and in [least, most]; in a tuple or an optional field, each number."""
    return dataclasses.field(metadata={"above": above, "least": least, "below": below, "most": most})


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    name: str


@dataclass(frozen=True, kw_only=True)
class NormConfig:
    name: str
    position: Literal["pre", "post", "input"]
    layers: tuple[str, ...]
    affine: bool
    eps: float = number(above=0)


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    name: str


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    name: str
    train_size: int | None = number(least=1)
    val_size: float = number(above=0, below=1)
    test_size: int | None = number(least=1)
    augment: tuple[Literal["crop", "flip"], ...]
    inputs: Literal["raw", "standardize", "zca"]
    zca_eps: float = number(least=1e-6, most=1e3)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    name: str
    weight_decay: float = number(least=0)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    name: str
    warmup: float = number(least=0, below=1)


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Beside these, each probe has a switch of its own name (normexp/probes)."""

    name: str
    every: int | None = number(least=1)
    layers: tuple[str, ...]
    samples: int = number(least=64)
    landscape_every: int | None = number(least=1)
    landscape_steps: tuple[int, ...] = number(least=1)


Objective = Literal[
    "val/accuracy",
    "val/loss",
    "train/loss",
    "train/accuracy",
    "convergence/best_accuracy",
    "convergence/area_under_curve",
]
"""What an optimizer may tune: nothing of the test set."""


@dataclass(frozen=True)
class Cadence:
    """How often something is done in a run: every so many steps or seconds; never, where both are None."""

    steps: int | None = None
    seconds: float | None = None


UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}

Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """All of a run. The comments in configs/train.yaml say what each key means."""

    model: ModelConfig
    norm: NormConfig
    init: InitConfig
    data: DataConfig
    optim: OptimConfig
    schedule: ScheduleConfig
    probe: ProbeConfig
    activation: Activation
    dropout: float = number(least=0, below=1)
    dropout_layers: tuple[str, ...]
    dropout_at: Literal["end", "norm"]
    dropout_scaled: bool
    noise: float = number(least=0)
    lr: float = number(above=0)
    lr_batch: int | None = number(least=1)
    batch_size: int = number(least=1)
    epochs: int | None = number(least=1)
    steps: int | None = number(least=1)
    grad_clip: float | None = number(above=0)
    seed: int = number(least=0, below=2**63)
    device: Literal["auto", "cpu", "cuda"]
    threads: int | None = number(least=1, most=1024)
    compile: bool
    amp: Literal["bf16", "fp16"] | None
    matmul_precision: Literal["highest", "high", "medium"]
    eval_every: int | None = number(least=1)
    log_every: int = number(least=1)
    checkpoint_every: str | None
    name: str | None
    runs_dir: str
    data_dir: str
    jobs: int | None = number(least=1)
    objective: Objective
    debug: Literal["fast", "overfit", "profile", "anomaly"] | None

    @property
    def peak_lr(self) -> float:
        """The learning rate at its highest: `lr`, in proportion to the batch where `lr_batch` says for which one it is meant."""
        return self.lr if self.lr_batch is None else self.lr * self.batch_size / self.lr_batch

    @property
    def checkpoints(self) -> Cadence:
        """`checkpoint_every`. Raises ConfigError where it is neither steps nor seconds."""
        text = self.checkpoint_every
        if text is None:
            return Cadence()
        found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) *(s|min|h)?", text)
        if found and float(found[1]) > 0:
            if found[2]:
                return Cadence(seconds=float(found[1]) * UNITS[found[2]])
            if "." not in text:
                return Cadence(steps=int(text))
        raise InvalidValueError(
            f"checkpoint_every={show(text)}: checkpoint_every must be a number of steps, such as 500, or a time, such as 60s or "
            "5min, or null."
        )


NOT_OF_THE_RESULT = (
    "checkpoint_every",
    "name",
    "runs_dir",
    "data_dir",
    "device",
    "threads",
    "jobs",
    "objective",
)
"""Keys that say where and how a run is made: another value does not make it another run."""

GROUPS: dict[str, type] = {
    field.name: field.type
    for field in dataclasses.fields(Config)
    if isinstance(field.type, type) and dataclasses.is_dataclass(field.type)
}
"""The groups of the config, each with the base class of its choices."""

OVERLAYS = ("experiment", "debug")
"""Groups whose choices set keys of the whole config."""

Choices = Mapping[str, Mapping[str, type]]
"""For each group, the dataclass of each of its choices."""


def read(tree: Mapping[str, Any], choices: Choices) -> Config:
    """The typed config that a plain mapping (as composed from yaml files and overrides) describes.

    Raises ConfigError, naming the key, for keys that do not exist or are missing, and for values of a wrong type or out of range.
    """
    config = _read_fields(Config, tree, prefix="", choices=choices)
    assert isinstance(config, Config)
    return config


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' with the closest of the known words, or nothing where none is close."""
    import difflib  # late, for a quick --help

    if word.lower() == "gpu" and "cuda" in (known := list(known)):
        return " Did you mean cuda?"
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def show(value: Any, most: int = 60) -> str:
    """A value as it is written in a yaml file or an override, printable, and shortened where it is long."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case list() | tuple():
            text = "[" + ",".join(show(item) for item in value) + "]"
        case _:
            text = str(value)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= most else text[: most - 3] + "..."


def listed(names: Iterable[str]) -> str:
    """'a, b, c': the first of them, where they would not fit into a sentence."""
    return show(", ".join(names), most=200)


def expanded(key: str, text: str) -> Path:
    """A folder that a key names, with `~` as the user's own. ConfigError for that of a user whom there isn't, and for a name
    that no folder can have."""
    try:
        path = Path(text).expanduser()
        with suppress(PermissionError):
            path.exists()
        return path
    except OSError as error:
        raise ConfigError(f"{key}={show(text)}: {error.strerror}.") from error
    except RuntimeError as error:
        raise ConfigError(
            f"{key}={show(text)}: there is no home folder for that ~; write ./~ for a folder of that name."
        ) from error


def _read_fields(cls: type, tree: Mapping[str, Any], *, prefix: str, choices: Choices) -> Any:
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in tree:
        if key not in fields:
            raise ConfigError(unknown_key(f"{prefix}{key}", [f"{prefix}{name}" for name in fields]))
    values = {}
    for name, field in fields.items():
        key = f"{prefix}{name}"
        if name not in tree:
            raise ConfigError(f"{key} is missing: give it a value with {key}=...")
        if not prefix and name in GROUPS:
            values[name] = _read_group(name, tree[name], choices)
        else:
            values[name] = _convert(tree[name], hints[name], key, field.metadata)
    return cls(**values)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence for a key that does not exist, with the nearest that does; without one near, all that stand beside it."""
    import difflib

    group, _, last = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == group]
    near = difflib.get_close_matches(last.lower(), [name.rpartition(".")[2] for name in beside], n=1, cutoff=0.6)
    if near:
        return f"There is no key {show(key)}. Did you mean {f'{group}.{near[0]}' if group else near[0]}?"
    return f"There is no key {show(key)}." + (f" The keys are {', '.join(beside)}." if beside else "")


def unknown_choice(group: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a choice that a group does not have, with the nearest that it has."""
    known = list(known)
    return f"{group}={show(name)}: {group} is one of {', '.join(known)}.{nearest(name, known)}"


def _read_group(group: str, tree: Any, choices: Choices) -> Any:
    if not isinstance(tree, Mapping) or not isinstance(tree.get("name"), str):
        raise InvalidValueError(f"{group}={show(tree)}: {group} is one of {', '.join(choices[group])}.")
    name = tree["name"]
    if name not in choices[group]:
        raise InvalidValueError(unknown_choice(group, name, choices[group]))
    return _read_fields(choices[group][name], tree, prefix=f"{group}.", choices=choices)


def _convert(value: Any, hint: Any, key: str, bounds: Mapping[str, float]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    result: Any = _WRONG
    if origin in (types.UnionType, Union):
        if value is None:
            return None
        (hint,) = (arg for arg in args if arg is not types.NoneType)
        return _convert(value, hint, key, {**bounds, "null": 1})
    if origin is tuple:
        if isinstance(value, list | tuple):
            try:
                return tuple(_convert(item, args[0], key, bounds) for item in value)
            except ConfigError:
                pass  # the sentence below shows the whole list
    elif origin is Literal:
        if value in args and isinstance(value, str):
            return value
        known = [*args, "null"] if "null" in bounds else args
        raise InvalidValueError(f"{key}={show(value)}: {key} is one of {', '.join(known)}.{nearest(str(value), known)}")
    elif hint is bool:
        result = value if isinstance(value, bool) else _WRONG
    elif hint is str:
        result = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else _WRONG
    elif isinstance(value, int | float) and not isinstance(value, bool) and _finite(value):
        if hint is float:
            result = float(value)
        elif hint is int and value == int(value) and abs(value) < LARGEST:
            result = int(value)
        if result is not _WRONG and bounds and not _inside(result, bounds):
            result = _WRONG
    if result is _WRONG:
        items = value if isinstance(value, list | tuple) else [value]
        if int in (hint, *args) and any(isinstance(item, int | float) and item >= LARGEST for item in items):
            bounds = {**bounds, "below": LARGEST}
        raise InvalidValueError(f"{key}={show(value)}: {key} must be {_describe(hint, bounds)}.")
    return result


_WRONG = object()

LARGEST = 2**63
"""Integers are below it, as torch's and NumPy's are."""


def _finite(value: float) -> bool:
    """Whether it is a number that a float can be, which not every whole one is."""
    return abs(value) <= sys.float_info.max


def _inside(value: float, bounds: Mapping[str, float]) -> bool:
    return bounds["above"] < value < bounds["below"] and bounds["least"] <= value <= bounds["most"]


def _describe(hint: Any, bounds: Mapping[str, float]) -> str:
    """What a value of this type and range is, in words."""
    if get_origin(hint) is tuple:
        (item, _) = get_args(hint)
        if get_origin(item) is Literal:
            return f"a list of any of {', '.join(get_args(item))}, such as [{get_args(item)[0]}]"
        inner = {k: v for k, v in bounds.items() if k != "null"}
        return f"a list in brackets, each of it {_describe(item, inner)}" + (", or null" if "null" in bounds else "")
    nouns = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}
    words = {"above": "above", "least": "of at least", "below": "below", "most": "of at most"}
    limits = [
        f"{words[k]} {'2^63' if v == LARGEST else show(v)}"
        for k, v in bounds.items()
        if k in words and math.isfinite(v)
    ]
    text = " ".join([nouns[hint], " and ".join(limits)]).strip()
    return text + (" or null" if "null" in bounds else "")
