"""The learning rate over a run: for each schedule, the share of `lr` in each step.

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


def _constant(config: ScheduleConfig, step: int, total: int, warm: int) -> float:
    return 1.0


def _cosine(config: Cosine, step: int, total: int, warm: int) -> float:
    """Loshchilov and Hutter 2017, eq. 5, one period after the warm-up; `final` is reached after the last step."""
    return _half_cosine(1.0, config.final, (step - warm) / (total - warm))


def _step(config: Step, step: int, total: int, warm: int) -> float:
    return config.gamma ** sum(step / total >= milestone for milestone in config.milestones)


def _onecycle(config: OneCycle, step: int, total: int, warm: int) -> float:
    """Smith and Topin 2018, as torch's OneCycleLR has it: half a cosine up from `start`, half a cosine down to `final`.

    The peak is at step warmup * total - 1, in general between two steps; the last step is at `final`.
    """
    peak = config.warmup * total - 1
    if step < peak:
        return _half_cosine(config.start, 1.0, step / peak)
    return _half_cosine(1.0, config.final, (step - peak) / (total - 1 - peak))


SCHEDULES: dict[str, tuple[type[ScheduleConfig], Callable[[Any, int, int, int], float]]] = {
    "constant": (ScheduleConfig, _constant),
    "cosine": (Cosine, _cosine),
    "step": (Step, _step),
    "onecycle": (OneCycle, _onecycle),
}


def lr_factor(config: ScheduleConfig, step: int, total_steps: int) -> float:
    """Factor of `lr` in step `step` of 0 ... total_steps - 1.

    A linear warm-up of w steps takes 1/w, 2/w, ... 1, so that no step is wasted at 0. onecycle has its own.
    """
    warm = round(config.warmup * total_steps)
    if step < warm and config.name != "onecycle":
        return (step + 1) / warm
    _, formula = SCHEDULES[config.name]
    return formula(config, step, total_steps, warm)
