"""The typed config of a run. Defaults and the meaning of each key are in the yaml files under configs/, types and ranges here.

A group (model, norm, ...) has a base class here; each choice subclasses it in its own file, next to the code that it configures.
"""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from normexp.config.messages import InvalidValueError, show


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
