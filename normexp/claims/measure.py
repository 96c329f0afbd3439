"""The runs that a claim needs, and the numbers that its measures read from them."""

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from normexp import rundir
from normexp.claims.schema import At, Claim, Measure, Point, Value
from normexp.compose.validate import validate
from normexp.config import show, suggest
from normexp.data import DATA
from normexp.metrics import is_fraction
from normexp.models.describe import describe
from normexp.report.read import Curve, Run, UnreadableRunError, curves, read_run
from normexp.sweeps.names import sort_overrides

RunKey = tuple[str, tuple[tuple[str, Value], ...], int]
"""A run of a claim: arm, value of each axis, seed."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that a claim needs. name: of its directory, shared by claims with the same overrides."""

    name: str
    overrides: tuple[str, ...]


def plan_runs(claim: Claim) -> dict[RunKey, PlannedRun]:
    """Every combination of an arm, a value of each axis and a seed."""
    if claim.sweep is None:
        return {}
    sweep, runs = claim.sweep, dict[RunKey, PlannedRun]()
    for arm, of_arm in sweep.arms.items():
        for values in itertools.product(*(axis.items() for axis in sweep.axes.values())):
            point = tuple((axis, value) for axis, (value, _) in zip(sweep.axes, values, strict=True))
            own = [*sweep.base, *of_arm, *(override for _, overrides in values for override in overrides)]
            for seed in claim.seeds:
                last = {override.partition("=")[0]: override for override in [*own, f"seed={seed}"]}
                overrides = tuple(sort_overrides(last.values()))
                runs[arm, point, seed] = PlannedRun(run_name(overrides), overrides)
    return runs


def run_name(overrides: Sequence[str]) -> str:
    """'norm=bn_lr=0.1_5f0c7a9e_seed=101': some keys and a hash of all overrides except the seed."""
    values = dict(override.split("=", 1) for override in overrides)
    shown = [
        f"{key}={values[key]}"
        for key in ("norm", "activation", "dropout", "lr")
        if values.get(key, "").replace(".", "").isalnum()
    ]
    digest = hashlib.sha256("\n".join(o for o in overrides if not o.startswith("seed=")).encode()).hexdigest()[:8]
    return "_".join([*shown, digest, f"seed={values['seed']}"])


@dataclass(frozen=True)
class Results:
    """The runs of a claim in a folder; callable as effects.Measured. Each run is read once."""

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
    def tags(self) -> list[str]:
        """The tags (or patterns) that the claim's measures read."""
        conditions = (*self.claim.rule, *self.claim.requires)
        measures = [measure for c in conditions for measure in (c.measure, c.other) if measure]
        return [tag for measure in measures for tag in (measure.tag, *(measure.below or ())[:1])]

    def __call__(self, measure: Measure, arm: str, point: Point, seed: int) -> float:
        """The number of a run; NaN if it is not defined. A diverged run has chance accuracy, and no other number."""
        assert self.claim.sweep is not None
        key = arm, tuple((axis, point[axis]) for axis in self.claim.sweep.axes), seed
        run = self.runs[key]
        if run.state == "diverged":
            return 1 / DATA[run.config["data"]].classes if is_fraction(measure.tag) else math.nan
        if measure.tag == "parameters":
            rows = describe(validate(rundir.read_config(run.directory)))
            return float(sum(row.parameters + row.norm_parameters for row in rows))
        if measure.at == "last" and measure.below is None and measure.tag in run.metrics:
            final = run.metrics[measure.tag]
            return math.nan if final is None else float(final)
        if key not in self._curve_cache:
            wanted = lambda tag: any(fnmatchcase(tag, pattern) for pattern in self.tags)  # noqa: E731
            self._curve_cache[key] = curves(run, wanted)[0]
        return read_measure(measure, self._curve_cache[key])

    def unknown_tag(self) -> str | None:
        """A message about a tag that no run has logged, with the nearest known one; None if all tags are known."""
        logged = {tag: None for run in self.runs.values() if run.state == "completed" for tag in run.metrics}
        for tag in self.tags if logged else ():  # nothing is known if all diverged
            if tag != "parameters" and not any(fnmatchcase(known, tag) for known in logged):
                return f"no run has logged {show(tag)}.{suggest(tag, logged)}"
        return None


def read_measure(measure: Measure, by_tag: Mapping[str, Curve]) -> float:
    """The number that a measure reads from a run's curves; NaN if it is not defined."""
    start, stop = -math.inf, math.inf  # steps, which are infinite where `below` never reached its level
    if measure.below is not None:
        tag, first, second = measure.below
        start = _first_step_below(by_tag.get(tag), first)
        stop = math.inf if second is None else _first_step_below(by_tag.get(tag), second)
    tags = [tag for tag in by_tag if fnmatchcase(tag, measure.tag)]  # in the network's order
    numbers = [_value_at(measure.at, by_tag[tag], start, stop) for tag in tags]
    if not numbers:
        return math.nan
    if measure.across == "first/last":
        return math.log10(numbers[0] / numbers[-1]) if numbers[0] > 0 and numbers[-1] > 0 else math.nan
    return float(AGGREGATES[measure.across](numbers))


AGGREGATES: Mapping[str, Callable[..., Any]] = {
    **{"mean": np.mean, "max": np.max, "min": np.min},
    **{"first": itemgetter(0), "last": itemgetter(-1)},
}


def _first_step_below(curve: Curve | None, level: float) -> float:
    if curve is None or not (low := curve.values <= level).any():
        return math.inf
    return float(curve.steps[low.argmax()])


def _value_at(at: At | int, curve: Curve, start: float, stop: float) -> float:
    """The logged value that `at` names, of those in the steps [start, stop); NaN if there is none."""
    if isinstance(at, int):
        stop, at = min(stop, at + 1), "last"
    values = curve.values[(curve.steps >= start) & (curve.steps < stop) & np.isfinite(curve.values)]
    return float(AGGREGATES[at](values)) if len(values) else math.nan
