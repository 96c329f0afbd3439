"""Learning rate schedules: the factor of `lr` as a function of the step.

They have no state, so a checkpoint stores nothing, and a schedule can't get out of step with the optimizer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normexp.config import ScheduleConfig, number


@dataclass(frozen=True, kw_only=True)
class Cosine(ScheduleConfig):
    final: float = number(minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class Step(ScheduleConfig):
    milestones: tuple[float, ...] = number(above=0, below=1)
    gamma: float = number(above=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class OneCycle(ScheduleConfig):
    start: float = number(above=0, maximum=1)
    final: float = number(minimum=0, maximum=1)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _cosine(config: Cosine, step: int, total_steps: int, warmup_steps: int) -> float:
    """One period of Loshchilov and Hutter 2017, eq. 5, after the warm-up. The factor after the last step would be `final`."""
    return _half_cosine(1.0, config.final, (step - warmup_steps) / (total_steps - warmup_steps))


def _step(config: Step, step: int, total_steps: int, warmup_steps: int) -> float:
    return config.gamma ** sum(step / total_steps >= milestone for milestone in config.milestones)


def _onecycle(config: OneCycle, step: int, total_steps: int, warmup_steps: int) -> float:
    """Smith and Topin 2018, as in torch's OneCycleLR: half a cosine up from `start`, half a cosine down to `final`. The peak is
    at step warmup * total_steps - 1, usually between two steps. The last step has the factor `final`."""
    peak = config.warmup * total_steps - 1
    if step < peak:
        return _half_cosine(config.start, 1.0, step / peak)
    return _half_cosine(1.0, config.final, (step - peak) / (total_steps - 1 - peak))


SCHEDULES: dict[str, tuple[type[ScheduleConfig], Callable[[Any, int, int, int], float]]] = {
    "constant": (ScheduleConfig, lambda *_: 1.0),
    "cosine": (Cosine, _cosine),
    "step": (Step, _step),
    "onecycle": (OneCycle, _onecycle),
}


def lr_factor(config: ScheduleConfig, step: int, total_steps: int) -> float:
    """The factor of `lr` in a step, 0 to total_steps - 1. The factors of a linear warm-up over w steps are 1/w, 2/w, ..., 1, so
    no step is wasted at 0. onecycle has its own warm-up."""
    warmup_steps = round(config.warmup * total_steps)
    if step < warmup_steps and config.name != "onecycle":
        return (step + 1) / warmup_steps
    _, formula = SCHEDULES[config.name]
    return formula(config, step, total_steps, warmup_steps)
