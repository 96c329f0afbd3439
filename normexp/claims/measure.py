"""The runs that a claim needs, and the numbers that its measures read from them."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from normexp import rundir
from normexp.claims.schema import Claim, Measure, Point, Value
from normexp.compose.validate import validate
from normexp.config import show, suggest
from normexp.data import DATA
from normexp.models.describe import describe
from normexp.report.metrics import is_fraction
from normexp.report.read import Curve, Run, UnreadableRunError, curves, read_run
from normexp.sweeps.names import sort_overrides

NAME_KEYS = ("norm", "activation", "dropout", "lr")
"""Config keys that a run's name shows."""

RunKey = tuple[str, tuple[tuple[str, Value], ...], int]
"""A run of a claim: arm, value of each axis, seed."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that a claim needs. name: of its directory; claims that need the same overrides share it."""

    name: str
    overrides: tuple[str, ...]


def plan_runs(claim: Claim) -> dict[RunKey, PlannedRun]:
    """Every combination of an arm, a value of each axis and a seed."""
    if claim.sweep is None:
        return {}
    sweep, runs = claim.sweep, dict[RunKey, PlannedRun]()
    for arm, of_arm in sweep.arms.items():
        for values in itertools.product(*(axis.items() for axis in sweep.axes.values())):
            point = tuple(zip(sweep.axes, (value for value, _ in values), strict=True))
            own = [*sweep.base, *of_arm, *itertools.chain.from_iterable(overrides for _, overrides in values)]
            for seed in claim.seeds:
                overrides = last_of_each([*own, f"seed={seed}"])
                runs[arm, point, seed] = PlannedRun(run_name(overrides), overrides)
    return runs


def last_of_each(overrides: Sequence[str]) -> tuple[str, ...]:
    """The last override of each key, in the order of the config's keys."""
    return tuple(sort_overrides({override.partition("=")[0]: override for override in overrides}.values()))


def run_name(overrides: Sequence[str]) -> str:
    """'norm=bn_lr=0.1_5f0c7a9e_seed=101': some keys, and a hash of all overrides but the seed."""
    values = dict(override.split("=", 1) for override in overrides)
    shown = [f"{key}={values[key]}" for key in NAME_KEYS if key in values and values[key].replace(".", "").isalnum()]
    digest = hashlib.sha256("\n".join(o for o in overrides if not o.startswith("seed=")).encode()).hexdigest()[:8]
    return "_".join([*shown, digest, f"seed={values['seed']}"])


@dataclass(frozen=True)
class Results:
    """The runs of a claim in a folder. Called as effects.Measured. Each run is read once."""

    claim: Claim
    folder: Path
    _curve_cache: dict[RunKey, Mapping[str, Curve]] = field(default_factory=dict)

    @cached_property
    def runs(self) -> dict[RunKey, Run]:
        """Runs that completed or diverged."""
        runs = {}
        for key, planned in plan_runs(self.claim).items():
            with suppress(OSError, UnreadableRunError):
                run = read_run(self.folder / planned.name, planned.name)
                if run.state in ("completed", "diverged"):
                    runs[key] = run
        return runs

    @cached_property
    def missing(self) -> list[str]:
        """Names of the runs without a result."""
        return [planned.name for key, planned in plan_runs(self.claim).items() if key not in self.runs]

    def __call__(self, measure: Measure, arm: str, point: Point, seed: int) -> float:
        """The number of a run; NaN if it is not defined. A diverged run has chance accuracy, and no other number."""
        assert self.claim.sweep is not None
        key = arm, tuple((axis, point[axis]) for axis in self.claim.sweep.axes), seed
        run = self.runs[key]
        if run.state == "diverged":
            return 1 / DATA[run.config["data"]].classes if is_fraction(measure.tag) else math.nan
        if measure.tag == "parameters":
            return float(count_parameters(run))
        final = run.metrics.get(measure.tag)
        if measure.at == "last" and measure.below is None and measure.tag in run.metrics:
            return math.nan if final is None else float(final)
        return read_measure(measure, self._curves(key))

    def unknown_tag(self) -> str | None:
        """A sentence on a tag that no run has logged, with the suggest known one; None if all tags are known."""
        tags = {tag: None for run in self.runs.values() if run.state == "completed" for tag in run.metrics}
        if not tags:  # all diverged
            return None
        for tag in (tag for measure in measures(self.claim) for tag in measure_tags(measure)):
            if tag != "parameters" and not any(fnmatchcase(known, tag) for known in tags):
                return f"the runs have no number {show(tag)}.{suggest(tag, tags)}"
        return None

    def _curves(self, key: RunKey) -> Mapping[str, Curve]:
        if key not in self._curve_cache:
            tags = [tag for measure in measures(self.claim) for tag in measure_tags(measure)]
            wanted = lambda tag: any(fnmatchcase(tag, pattern) for pattern in tags)  # noqa: E731
            self._curve_cache[key] = curves(self.runs[key], wanted).by_tag
        return self._curve_cache[key]


def count_parameters(run: Run) -> int:
    """Number of trainable parameters of a run's network."""
    config = validate(rundir.read_config(run.directory))
    return sum(row.parameters + row.norm_parameters for row in describe(config))


def measures(claim: Claim) -> Iterator[Measure]:
    """All measures of a claim's conditions."""
    for condition in (*claim.rule, *claim.requires):
        yield from filter(None, (condition.measure, condition.other))


def measure_tags(measure: Measure) -> tuple[str, ...]:
    """The tags (or patterns) that a measure reads."""
    return (measure.tag, measure.below[0]) if measure.below else (measure.tag,)


def read_measure(measure: Measure, by_tag: Mapping[str, Curve]) -> float:
    """The number that a measure reads from a run's curves; NaN if it is not defined."""
    window = _step_window(measure, by_tag)
    tags = [tag for tag in by_tag if fnmatchcase(tag, measure.tag)]  # in the network's order
    numbers = [_value_at(measure, by_tag[tag], window) for tag in tags]
    if not numbers:
        return math.nan
    match measure.across:
        case "first":
            return numbers[0]
        case "last":
            return numbers[-1]
        case "first/last":
            return math.log10(numbers[0] / numbers[-1]) if numbers[0] > 0 and numbers[-1] > 0 else math.nan
        case ("mean" | "max" | "min") as across:
            return float(AGGREGATES[across](numbers))


AGGREGATES: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max, "min": np.min}


def _step_window(measure: Measure, by_tag: Mapping[str, Curve]) -> tuple[float, float]:
    """Steps [start, stop) that count; infinite where `below` never reached its level."""
    if measure.below is None:
        return -math.inf, math.inf
    tag, first, second = measure.below
    curve = by_tag.get(tag)
    return _first_step_below(curve, first), math.inf if second is None else _first_step_below(curve, second)


def _first_step_below(curve: Curve | None, level: float) -> float:
    if curve is None or not (low := curve.values <= level).any():
        return math.inf
    return float(curve.steps[low.argmax()])


def _value_at(measure: Measure, curve: Curve, window: tuple[float, float]) -> float:
    """The logged value that `measure.at` names, of those in a window of steps."""
    inside = (curve.steps >= window[0]) & (curve.steps < window[1]) & np.isfinite(curve.values)
    steps, values = curve.steps[inside], curve.values[inside]
    if not len(values):
        return math.nan
    match measure.at:
        case int(step):
            until = values[steps <= step]
            return float(until[-1]) if len(until) else math.nan
        case "first":
            return float(values[0])
        case "last":
            return float(values[-1])
        case "mean" | "max" | "min":
            return float(AGGREGATES[measure.at](values))
