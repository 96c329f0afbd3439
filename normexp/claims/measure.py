"""The runs that a claim needs, and the numbers that its measures read from them."""

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from normexp import rundir
from normexp.claims import evaluations
from normexp.claims.effects import Bounds, RunKey
from normexp.claims.schema import At, Claim, Measure, Point, format_point
from normexp.compose.validate import validate
from normexp.config import show, suggest, yaml_files
from normexp.data import DATA, info
from normexp.metrics import is_fraction
from normexp.models.describe import describe
from normexp.report.read import Curve, Run, UnreadableRunError, curves, read_run
from normexp.sweeps.names import sort_overrides


@dataclass(frozen=True)
class PlannedRun:
    """A run that a claim needs.

    name: of its directory, shared by claims with the same overrides. evaluation: options of `normexp eval`, if its test accuracy
    and loss are those of a later evaluation. added: whether an axis has a value beyond those of the file.
    """

    name: str
    overrides: tuple[str, ...]
    evaluation: tuple[str, ...] = ()
    added: bool = False


def plan_run(claim: Claim, key: RunKey) -> PlannedRun:
    """The run of an arm, a value of each axis and a seed. The values may lie beyond those of the file."""
    assert claim.sweep is not None
    (arm, point, seed), sweep = key, claim.sweep
    of_axes = [sweep.axes[axis].get(value, (format_point({axis: value}),)) for axis, value in point]
    own = [*sweep.base, *sweep.arms[arm], *itertools.chain.from_iterable(of_axes), f"seed={seed}"]
    training, evaluation = evaluations.split_overrides(own)
    overrides, added = tuple(sort_overrides(training)), any(value not in sweep.axes[axis] for axis, value in point)
    return PlannedRun(run_name(overrides), overrides, evaluation, added)


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


def has_checksums(run: PlannedRun) -> bool:
    """Whether the data of a run has published checksums."""
    named = [override.removeprefix("data=") for override in run.overrides if override.startswith("data=")]
    return "verify" in yaml_files.choice("data", named[0] if named else str(yaml_files.default_choice("data")))


@dataclass(frozen=True)
class Results:
    """The runs of a claim in a folder; callable as effects.Measured. Each run is read once.

    names: the directories that count; None for all. impossible: runs that can't be trained, whose numbers are not defined.
    """

    claim: Claim
    folder: Path
    names: Set[str] | None = None
    impossible: Set[str] = frozenset()
    runs: dict[RunKey, Run | None] = field(default_factory=dict)
    """Runs that were asked for; None for those that didn't complete or diverge."""
    _curve_cache: dict[RunKey, Mapping[str, Curve]] = field(default_factory=dict)

    @cached_property
    def tags(self) -> list[str]:
        """The tags (or patterns) that the claim's measures read."""
        return [tag for measure in self.claim.measures for tag in (measure.tag, *(measure.below or ())[:1])]

    def __call__(self, measure: Measure, arm: str, point: Point, seed: int) -> Bounds | None:
        """The number of a run; None if it is still to be trained or evaluated. A diverged run has chance accuracy and no other
        number."""
        assert self.claim.sweep is not None
        key = arm, tuple((axis, point[axis]) for axis in self.claim.sweep.axes), seed
        planned = plan_run(self.claim, key)
        if key not in self.runs:
            self.runs[key] = self._read(planned.name)
        run = self.runs[key]
        if run is None:
            return (math.nan, math.nan) if planned.name in self.impossible else None
        if measure.tag == "parameters":
            rows = describe(validate(rundir.read_config(run.directory)))
            return (float(sum(row.parameters + row.norm_parameters for row in rows)),) * 2
        if run.state == "diverged" and measure.reaches is None:
            return (1 / _classes(run) if is_fraction(measure.tag) else math.nan,) * 2
        if measure == Measure(tag=measure.tag) and measure.tag in run.metrics:
            return _final(run, planned, measure.tag)
        if key not in self._curve_cache:
            wanted = lambda tag: any(fnmatchcase(tag, pattern) for pattern in self.tags)  # noqa: E731
            self._curve_cache[key] = curves(run, wanted)[0]
        if measure.reaches is not None:
            curve = self._curve_cache[key].get(measure.tag)
            return steps_to(measure.reaches, curve, run.config["steps"] or (int(curve.steps[-1]) if curve else 0))
        return (read_measure(measure, self._curve_cache[key]),) * 2

    def _read(self, name: str) -> Run | None:
        if self.names is not None and name not in self.names:
            return None
        with suppress(OSError, UnreadableRunError):
            run = read_run(self.folder / name, name)
            return run if run.state in ("completed", "diverged") else None
        return None

    def unlogged(self) -> str | None:
        """A message about a tag or step that is not logged, with the nearest ones; None if all are."""
        logged = {tag: None for run in self.runs.values() if run and run.state == "completed" for tag in run.metrics}
        for tag in self.tags if logged else ():  # nothing is known if all diverged
            if tag != "parameters" and not any(fnmatchcase(known, tag) for known in logged):
                return f"no run has logged {show(tag)}.{suggest(tag, logged)}"
        for measure in self.claim.measures:
            if not isinstance(at := measure.at, int) or measure.below is not None:
                continue
            for key, by_tag in self._curve_cache.items():
                own = [curve for tag, curve in by_tag.items() if fnmatchcase(tag, measure.tag)]
                steps = {int(step) for curve in own for step in curve.steps}
                if (run := self.runs[key]) and run.state == "completed" and steps and at not in steps:
                    nearest = sorted(sorted(steps, key=lambda step: abs(step - at))[:2])
                    return f"{measure.tag} is not logged at step {at}; nearest: {' and '.join(map(str, nearest))}."
        return None


def _final(run: Run, planned: PlannedRun, tag: str) -> Bounds | None:
    """The last value of a metric, or that of the evaluation that the plan asks for; None if that is still missing."""
    metrics: Mapping[str, Any] = run.metrics
    if planned.evaluation and tag in evaluations.TAGS:
        config, step = validate(rundir.read_config(run.directory)), run.status["step"]
        entry = evaluations.stored(run.directory, planned.evaluation, config, step)
        if entry is None:
            return None
        metrics = {tag: rundir.finite(entry.get(tag.removeprefix("test/")))}
    value = metrics[tag]
    return (math.nan if value is None else float(value),) * 2


def steps_to(level: float, curve: Curve | None, steps: int) -> Bounds:
    """The number of steps until a curve first is at least `level`: after the evaluation before, and at most at this one.

    (steps, inf) if it never is: the run is right-censored at its length, even if it diverged before.
    """
    if curve is None or not (reached := curve.values >= level).any():
        return float(steps), math.inf
    first = int(reached.argmax())
    return float(curve.steps[first - 1]) if first else 0.0, float(curve.steps[first])


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


def _classes(run: Run) -> int:
    """Number of classes of a run's data. If they are only known from the data's files, these must still exist."""
    entry = DATA[run.config["data"]]
    if entry.inspect is None:
        return len(entry.class_names) or entry.classes
    return info(validate(rundir.read_config(run.directory)).data).classes
