"""The learning rate over a run: for each schedule, the share of `lr` at a point of the run, from 0 (start) to 1 (end).

Plain formulas of the step: nothing to save for a resume, nothing that can get out of step with the optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normexp.config import ScheduleConfig, number


@dataclass(frozen=True, kw_only=True)
class Cosine(ScheduleConfig):
    final: float = number(least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class Step(ScheduleConfig):
    milestones: tuple[float, ...] = number(above=0, below=1)
    gamma: float = number(above=0, most=1)


@dataclass(frozen=True, kw_only=True)
class OneCycle(ScheduleConfig):
    start: float = number(above=0, most=1)
    final: float = number(least=0, most=1)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _constant(config: ScheduleConfig, at: float) -> float:
    return 1.0


def _cosine(config: Cosine, at: float) -> float:
    """Loshchilov and Hutter 2017, eq. 5, one period behind the warm-up."""
    return _half_cosine(1.0, config.final, (at - config.warmup) / (1 - config.warmup))


def _step(config: Step, at: float) -> float:
    return config.gamma ** sum(at >= milestone for milestone in config.milestones)


def _onecycle(config: OneCycle, at: float) -> float:
    """Smith and Topin 2018, in torch's form: half a cosine up from `start`, half a cosine down to `final`."""
    if at < config.warmup:
        return _half_cosine(config.start, 1.0, at / config.warmup)
    return _half_cosine(1.0, config.final, (at - config.warmup) / (1 - config.warmup))


SCHEDULES: dict[str, tuple[type[ScheduleConfig], Callable[[Any, float], float]]] = {
    "constant": (ScheduleConfig, _constant),
    "cosine": (Cosine, _cosine),
    "step": (Step, _step),
    "onecycle": (OneCycle, _onecycle),
}


def lr_factor(config: ScheduleConfig, step: int, total_steps: int) -> float:
    """What `lr` is multiplied by in step `step` of 0 ... total_steps - 1.

    A linear warm-up of w steps runs through 1/w, 2/w, ... 1, so that no step is wasted at 0.
    """
    warm = round(config.warmup * total_steps)
    if step < warm and config.name != "onecycle":
        return (step + 1) / warm
    _, formula = SCHEDULES[config.name]
    return formula(config, step / total_steps)
