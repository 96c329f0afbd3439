"""Typed config of a run: types and ranges. Defaults and explanations of the keys are in the yaml files under configs/.

Each group (model, norm, ...) has a base class here. Choices with keys of their own subclass it next to the code they configure.
"""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from normexp.config.messages import InvalidValueError, show


def number(
    *,
    above: float = -math.inf,
    minimum: float = -math.inf,
    below: float = math.inf,
    maximum: float = math.inf,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field for numbers in (above, below) and [minimum, maximum]. In a tuple, the bounds hold for each number.

    default: value of the key in configs that were stored before it existed.
    """
    metadata = {"above": above, "minimum": minimum, "below": below, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


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
    zero_last: bool = False
    qk: bool = False
    gamma: float = number(above=0, default=1.0)


@dataclass(frozen=True, kw_only=True)
class WeightConfig:
    name: str


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    name: str
    input_std: float | None = number(above=0, maximum=1e6, default=None)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    name: str
    train_size: int | None = number(minimum=1)
    val_size: float = number(above=0, below=1)
    test_size: int | None = number(minimum=1)
    augment: tuple[Literal["crop", "flip"], ...]
    inputs: Literal["raw", "standardize", "standardize_pixel", "zca"]
    zca_eps: float = number(minimum=1e-6, maximum=1e3)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    name: str
    weight_decay: float = number(minimum=0)
    decay_norm: bool = True


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    name: str
    warmup: float = number(minimum=0, below=1)


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """normexp/probes adds a switch for each probe, of the same name."""

    name: str
    every: int | None = number(minimum=1)
    early: int = number(minimum=0, maximum=1000, default=0)
    layers: tuple[str, ...]
    samples: int = number(minimum=64)
    landscape_every: int | None = number(minimum=1)
    landscape_steps: tuple[int, ...] = number(minimum=1)


Objective = Literal[
    "val/accuracy",
    "val/loss",
    "train/loss",
    "train/accuracy",
    "convergence/best_accuracy",
    "convergence/area_under_curve",
]
"""Metrics that a hyperparameter search may optimize: none of the test set."""


@dataclass(frozen=True)
class Cadence:
    """An interval in steps or in seconds. If both are None: never."""

    steps: int | None = None
    seconds: float | None = None


Tracker = Literal["mlflow", "wandb", "trackio"]
TRACKERS: tuple[str, ...] = get_args(Tracker)

ActivationName = Literal["relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "tlu", "identity"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Config of a run. configs/train.yaml explains the keys."""

    model: ModelConfig
    norm: NormConfig
    weight: WeightConfig = WeightConfig(name="none")
    init: InitConfig
    data: DataConfig
    optim: OptimConfig
    schedule: ScheduleConfig
    probe: ProbeConfig
    activation: ActivationName
    dropout: float = number(minimum=0, below=1)
    dropout_layers: tuple[str, ...]
    dropout_at: Literal["end", "norm"]
    dropout_scaled: bool
    noise: float = number(minimum=0)
    lr: float = number(above=0)
    lr_batch: int | None = number(minimum=1)
    batch_size: int = number(minimum=1)
    accumulate: int = number(minimum=1, default=1)
    sort_batches: bool = False
    epochs: int | None = number(minimum=1)
    steps: int | None = number(minimum=1)
    grad_clip: float | None = number(above=0)
    trainable: Literal["all", "norm", "random"] = "all"
    seed: int = number(minimum=0, below=2**63)
    device: Literal["auto", "cpu", "cuda"]
    threads: int | None = number(minimum=1, maximum=1024)
    compile: bool
    amp: Literal["bf16", "fp16"] | None
    matmul_precision: Literal["highest", "high", "medium"]
    eval_every: Literal["auto"] | int | None = number(minimum=1)
    eval_samples: int | None = number(minimum=1, default=None)
    log_every: int = number(minimum=1)
    checkpoint_every: str | None
    name: str | None
    runs_dir: str
    data_dir: str
    jobs: int | None = number(minimum=1)
    objective: Objective
    tracker: Tracker | None = None
    debug: Literal["fast", "overfit", "profile", "anomaly"] | None
    own_choices: tuple[str, ...] = ()
    """Groups whose choice is a file in --config-dir, such as norm=slow_bn. Set when the config is composed."""

    @property
    def micro_batch_size(self) -> int:
        """Samples per forward pass in training: batch_size / accumulate. Validation makes sure that it is an integer."""
        return self.batch_size // self.accumulate

    @property
    def peak_lr(self) -> float:
        """Maximum of the schedule: `lr`, scaled by batch_size / lr_batch if `lr_batch` is set."""
        return self.lr if self.lr_batch is None else self.lr * self.batch_size / self.lr_batch

    @property
    def checkpoints(self) -> Cadence:
        """`checkpoint_every`, parsed. Raises InvalidValueError."""
        text = self.checkpoint_every
        if text is None:
            return Cadence()
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) *(s|min|h)?", text)
        if match and float(match[1]) > 0:
            if match[2]:
                return Cadence(seconds=float(match[1]) * {"s": 1.0, "min": 60.0, "h": 3600.0}[match[2]])
            if "." not in text:
                return Cadence(steps=int(text))
        raise InvalidValueError(
            f"checkpoint_every={show(text)}: checkpoint_every must be a number of steps (500), a time (60s or 5min) or null."
        )


LENGTH_KEYS = ("epochs", "steps")
"""Keys that a resumed run may increase."""

RESULT_INDEPENDENT_KEYS = (
    *("checkpoint_every", "name", "runs_dir", "data_dir", "device", "threads", "jobs", "objective"),
    *("tracker", "own_choices", "data.verify"),
)
"""Keys for where and how to run. Runs that differ in nothing else are the same run."""

GROUPS = ("model", "norm", "weight", "init", "data", "optim", "schedule", "probe")
"""Keys with choices."""

OVERLAYS = ("experiment", "debug")
"""Groups whose choices set any keys of the config, and have none of their own."""
