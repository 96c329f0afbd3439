"""The runs of a claim: their overrides, their names, and the numbers that its measures find in them."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from normexp.claims.schema import Claim, Condition, Measure, Value
from normexp.compose.validate import validate
from normexp.config import nearest, show
from normexp.data import DATA
from normexp.models.describe import describe
from normexp.report.aggregate import is_share
from normexp.report.read import Curve, Run, curves, read_run
from normexp.sweeps.names import in_order

SHOWN = ("norm", "activation", "dropout", "lr")
"""Keys that stand in a run's name."""

Which = tuple[str, tuple[tuple[str, Value], ...], int]
"""A run of a claim: its arm, the value of each axis, the seed."""


@dataclass(frozen=True)
class Planned:
    """A run that there is to be. name: of its directory; the same overrides have the same name in all claims, which share it."""

    name: str
    overrides: tuple[str, ...]


def planned(claim: Claim) -> dict[Which, Planned]:
    """Every combination of an arm, a value of each axis and a seed."""
    if claim.sweep is None:
        return {}
    sweep, found = claim.sweep, dict[Which, Planned]()
    for arm, of_arm in sweep.arms.items():
        for values in itertools.product(*(axis.items() for axis in sweep.axes.values())):
            place = tuple(zip(sweep.axes, (value for value, _ in values), strict=True))
            own = [*sweep.base, *of_arm, *itertools.chain.from_iterable(overrides for _, overrides in values)]
            for seed in claim.seeds:
                overrides = last_of_each([*own, f"seed={seed}"])
                found[arm, place, seed] = Planned(run_name(overrides), overrides)
    return found


def last_of_each(overrides: Sequence[str]) -> tuple[str, ...]:
    """One override a key, the last one, in the order of the config's keys."""
    return tuple(in_order({override.partition("=")[0]: override for override in overrides}.values()))


def run_name(overrides: Sequence[str]) -> str:
    """'norm=bn_lr=0.1_5f0c7a9e_seed=101': some keys, and a hash of all of them."""
    values = dict(override.split("=", 1) for override in overrides)
    shown = [f"{key}={values[key]}" for key in SHOWN if key in values and values[key].replace(".", "").isalnum()]
    mark = hashlib.sha256("\n".join(o for o in overrides if not o.startswith("seed=")).encode()).hexdigest()[:8]
    return "_".join([*shown, mark, f"seed={values['seed']}"])


@dataclass(frozen=True)
class Results:
    """The runs of a claim in a folder, each read once, and what its measures find there."""

    claim: Claim
    folder: Path

    @cached_property
    def runs(self) -> dict[Which, Run]:
        """Those that came to an end, completed or diverged."""
        found = {}
        for which, each in planned(self.claim).items():
            with suppress(OSError):
                run = read_run(self.folder / each.name, each.name)
                if not isinstance(run, str) and run.state in ("completed", "diverged"):
                    found[which] = run
        return found

    @cached_property
    def lacking(self) -> list[str]:
        """Names of the runs that have no result."""
        return [each.name for which, each in planned(self.claim).items() if which not in self.runs]

    def __call__(self, measure: Measure, arm: str, place: Mapping[str, Value], seed: int) -> float:
        """As judge.Measured: NaN where the number is not defined. A run that diverged has the accuracy of a guess, and nothing
        else."""
        assert self.claim.sweep is not None
        which = arm, tuple((axis, place[axis]) for axis in self.claim.sweep.axes), seed
        run = self.runs[which]
        if run.state == "diverged":
            return 1 / DATA[run.config["data"]].classes if is_share(measure.tag) else math.nan
        if measure.tag == "parameters":
            return float(parameters(run))
        final = run.metrics.get(measure.tag)
        if measure.at == "last" and measure.below is None and measure.tag in run.metrics:
            return math.nan if final is None else float(final)
        return _number(measure, self._curves(which))

    def unknown(self) -> str | None:
        """A sentence on a measure that no run has ever logged, with the nearest that some have; None where all are known."""
        tags = {tag: None for run in self.runs.values() if run.state == "completed" for tag in run.metrics}
        if not tags:  # all diverged
            return None
        for measure in measures(self.claim):
            for tag in (measure.tag, *(measure.below or ())[:1]):
                if tag != "parameters" and not any(fnmatchcase(known, str(tag)) for known in tags):
                    return f"the runs have no number {show(tag)}.{nearest(str(tag), tags)}"
        return None

    def _curves(self, which: Which) -> Mapping[str, Curve]:
        if which not in self._read:
            tags = [measure.tag for measure in measures(self.claim)]
            tags += [measure.below[0] for measure in measures(self.claim) if measure.below]
            wanted = lambda tag: any(fnmatchcase(tag, pattern) for pattern in tags)  # noqa: E731
            self._read[which] = curves(self.runs[which], wanted).by_tag
        return self._read[which]

    @cached_property
    def _read(self) -> dict[Which, Mapping[str, Curve]]:
        return {}


def parameters(run: Run) -> int:
    """How many numbers the network of a run learns."""
    tree = OmegaConf.to_container(OmegaConf.load(run.directory / "config.yaml"))
    assert isinstance(tree, dict)
    return sum(row.parameters + row.norm_parameters for row in describe(validate({str(k): v for k, v in tree.items()})))


def measures(claim: Claim) -> Iterator[Measure]:
    """All measures of a claim's conditions."""
    condition: Condition
    for condition in (*claim.rule, *claim.requires):
        yield condition.measure
        if condition.other is not None:
            yield condition.other


def _number(measure: Measure, found: Mapping[str, Curve]) -> float:
    window = _window(measure, found)
    tags = [tag for tag in found if fnmatchcase(tag, measure.tag)]  # as the network uses them
    numbers = [_entry(measure, found[tag], window) for tag in tags]
    if not numbers:
        return math.nan
    match measure.across:
        case "first":
            return numbers[0]
        case "last":
            return numbers[-1]
        case "first/last":
            return math.log10(numbers[0] / numbers[-1]) if numbers[0] > 0 and numbers[-1] > 0 else math.nan
        case ("mean" | "max" | "min") as what:
            return OF_MANY[what](np.array(numbers))


OF_MANY: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "mean": lambda values: float(values.mean()),
    "max": lambda values: float(values.max()),
    "min": lambda values: float(values.min()),
}


def _window(measure: Measure, found: Mapping[str, Curve]) -> tuple[float, float]:
    """The first step whose entries count, and the first one after it whose entries don't; inf where a level was never reached."""
    if measure.below is None:
        return -math.inf, math.inf
    tag, first, second = measure.below
    return _passage(found.get(tag), first), math.inf if second is None else _passage(found.get(tag), second)


def _passage(curve: Curve | None, level: float) -> float:
    if curve is None or not (low := curve.values <= level).any():
        return math.inf
    return float(curve.steps[low.argmax()])


def _entry(measure: Measure, curve: Curve, window: tuple[float, float]) -> float:
    """The entry that is asked for, of those in a window of steps."""
    there = (curve.steps >= window[0]) & (curve.steps < window[1]) & np.isfinite(curve.values)
    steps, values = curve.steps[there], curve.values[there]
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
            return OF_MANY[measure.at](values)
