"""Check the conditions of a claim against its sweep: names must exist, and keys must fit together."""

import itertools
import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from normexp.claims import evaluations
from normexp.claims.schema import Claim, Condition, Measure, Sweep, Value, is_number
from normexp.compose.overrides import validate_overrides
from normexp.config import Config, ConfigError, show, suggest
from normexp.data import sizes
from normexp.metrics import find_pattern, is_fraction
from normexp.report.logged import known_metrics
from normexp.training.evaluation_options import PATHS, read_words

NUM_ARMS = {"difference": (2,), "ratio": (2,), "value": (1,), "share": (2, 4), "correlation": range(1, 100)}
"""Possible numbers of arms of each comparison."""

MIN_POINTS = 4
"""Fewest points of a correlation: the rank correlation of three can only be -1, -1/3, 1/3 or 1."""


def check_condition(condition: Condition, sweep: Sweep) -> None:
    """Raise ConfigError, with the nearest name, if the condition can't be judged from the sweep."""
    _check_arms(condition, sweep)
    for measure in filter(None, (condition.measure, condition.other)):
        _check_tag("measure", measure.tag)
        if measure.below is not None:
            _check_tag("below", measure.below[0])
        _check_evaluated(measure, sweep)
    named: list[tuple[str, str, tuple[Value, ...]]] = [("where", axis, of) for axis, of in condition.where.items()]
    named += [("pool", axis, ()) for axis in condition.pool]
    named += [(key, axis, ()) for key in ("over", "best_of") if (axis := getattr(condition, key)) is not None]
    if condition.contrast is not None:
        named.append(("contrast", condition.contrast[0], condition.contrast[1:]))
    for key, axis, values in named:
        if axis not in sweep.axes:
            raise ConfigError(f"{key}: unknown axis {show(axis)}.{_suggest(axis, sweep.axes)}")
        for value in values:
            if value not in sweep.axes[axis]:
                known = ", ".join(map(show, sweep.axes[axis]))
                raise ConfigError(f"{key}: axis {axis} has no value {show(value)}; its values are {known}.")
    if len({axis for _, axis, _ in named}) < len(named):
        raise ConfigError("over, best_of, pool, contrast and where must name different axes.")
    _check_reduction(condition, sweep)
    _check_range(condition)
    arms = dict.fromkeys(condition.arms)
    if len({sweep.arms[arm] for arm in arms}) < len(arms):
        raise ConfigError(f"compare={show(condition.arms)}: two of these arms have the same overrides.")
    correlation = condition.comparison == "correlation"
    points = len(condition.arms) * math.prod(len(sweep.axes[axis]) for axis in condition.pool)
    if correlation and points < MIN_POINTS:
        raise ConfigError(
            f"as: correlation needs {MIN_POINTS} or more points (arms and values of the axes in pool), not {points}."
        )
    if correlation != (condition.other is not None) or (condition.pool and not correlation):
        raise ConfigError(
            "as: correlation and with (the second measure) require each other; pool is only for correlations."
        )


def check_lines(condition: Condition, *, single: bool) -> None:
    """Raise ConfigError if the lines contradict each other. single: the condition has only the one that confirms."""
    confirm, refute, direction = condition.confirm, condition.refute, condition.direction
    if direction == "within":
        wrong, order = not 0 <= confirm <= refute, "0 <= confirm < refute (distances from center)"
    elif direction == ">=":
        wrong, order = refute > confirm, "refute < confirm"
    else:
        wrong, order = refute < confirm, "refute > confirm"
    if wrong or (confirm == refute and not single):
        raise ConfigError(f"confirm={show(confirm)}, refute={show(refute)}: is: {direction} needs {order}.")
    if condition.center and direction != "within":
        raise ConfigError("center is only for is: within.")
    if condition.comparison == "ratio" and min(confirm, refute) <= 0:
        raise ConfigError(f"confirm={show(confirm)}, refute={show(refute)}: the lines of a ratio must be > 0.")
    if condition.comparison == "ratio" and direction == "within" and condition.center <= confirm:
        raise ConfigError(
            f"center={show(condition.center)}: a ratio needs a center > confirm, such as center: 1 for equal arms."
        )


def check_sweep(sweep: Sweep) -> None:
    """Raise ConfigError if an axis sets a key that base, an arm or another axis also sets: one of them would have no effect."""
    owners: dict[str, str] = {}
    for axis, values in sweep.axes.items():
        for key in dict.fromkeys(override.partition("=")[0] for overrides in values.values() for override in overrides):
            if key in owners:
                raise ConfigError(f"sweep.axes: {axis} and {owners[key]} both set {key}.")
            owners[key] = axis
    others = {"base": sweep.base, **{f"arms.{arm}": own for arm, own in sweep.arms.items()}}
    for where, key in ((where, override.partition("=")[0]) for where, own in others.items() for override in own):
        if key in owners:
            raise ConfigError(f"sweep.{where}: {key} is already set by the axis {owners[key]}.")


def check_overrides(claim: Claim, config_dir: Path | None) -> None:
    """Raise ConfigError if an override of a claim's sweep is not valid for `normexp train`, or for `normexp eval`."""
    if claim.sweep is None:
        return
    groups = [("base", claim.sweep.base), *((f"arms.{arm}", overrides) for arm, overrides in claim.sweep.arms.items())]
    groups += [
        (f"axes.{axis}", overrides) for axis, values in claim.sweep.axes.items() for overrides in values.values()
    ]
    for where, overrides in groups:
        for override in dict.fromkeys(overrides):
            try:
                if override.startswith(evaluations.PREFIX):
                    if {*read_words([override.removeprefix(evaluations.PREFIX)])} & {*PATHS}:
                        raise ConfigError(
                            f"{override}: say it in the command, as in normexp claims run NAME device=cpu."
                        )
                    continue
                validate_overrides([override], config_dir)
                if (key := override.partition("=")[0]) in ("seed", "name", "runs_dir", "experiment", "debug"):
                    hint = "; list their seeds under seeds" if key == "seed" else ""
                    raise ConfigError(f"{override}: {key} can't be set in a claim's runs{hint}.")
            except ConfigError as error:
                raise ConfigError(f"sweep.{where}: {error}") from error


def check_steps(claim: Claim, configs: Iterable[Config]) -> None:
    """Raise ConfigError if a measure is read at a step that some run never reaches."""
    last = min((sizes(config).total_steps for config in configs), default=math.inf)
    for measure in claim.measures:
        if isinstance(measure.at, int) and measure.at > last:
            raise ConfigError(f"at={measure.at}: {measure.tag} can't be read at this step of runs with {last} steps.")


def _check_arms(condition: Condition, sweep: Sweep) -> None:
    if condition.comparison not in NUM_ARMS:
        raise ConfigError("as: each is only for exact claims.")
    arms, counts = condition.arms, NUM_ARMS[condition.comparison]
    repeated = condition.comparison != "share" and len(set(arms)) < len(arms)
    if repeated or len(arms) not in counts or (len(arms) > 1 and len(set(arms)) == 1):
        count = "at least 1" if isinstance(counts, range) else " or ".join(map(str, counts))
        noun = "arm" if count in ("1", "at least 1") else "different arms"
        raise ConfigError(f"compare={show(arms)}: as: {condition.comparison} needs {count} {noun}.")
    for arm in arms:
        if arm not in sweep.arms:
            raise ConfigError(f"compare: unknown arm {show(arm)}.{_suggest(arm, sweep.arms)}")


def _check_reduction(condition: Condition, sweep: Sweep) -> None:
    reduction, over, comparison = condition.reduction, condition.over, condition.comparison
    works, has_level = reduction in ("decades", "largest"), condition.working_level is not None
    values, tag = sweep.axes.get(over or "", ()), condition.measure.tag
    not_positive = ", ".join(show(value) or "''" for value in values if not is_number(value) or value <= 0)
    not_numbers = ", ".join(show(value) or "''" for value in values if not is_number(value))
    working, take = "working (the lowest measure at which a value works)", f"take: {reduction}"
    _raise_first(
        {
            f"{take} needs an axis, given by over.": over is None and reduction != "best",
            f"{working} and take: decades or largest require each other.": works != has_level,
            f"{take} would select on the test set; use a validation measure, or take: best.": (
                tag.startswith("test/") and (works or reduction in ("min", "max"))
            ),
            f"{working} can't be a loss; use an accuracy.": has_level and tag.endswith("loss"),
            f"{take} needs an axis of positive numbers, but {over} has {not_positive}.": works and bool(not_positive),
            f"take: slope needs an axis of several numbers, but {over} has {not_numbers or 'one'}.": (
                reduction == "slope" and (bool(not_numbers) or len(values) < 2)
            ),
            f"{take} needs an axis of several values, but {over} has one.": reduction == "gain" and len(values) == 1,
            f"{take} can't be compared as: {comparison}; use difference or value.": (
                reduction == "decades" and comparison in ("ratio", "share")
            ),
            f"{take} can't be compared as: {comparison}, since it may be unlimited; use ratio or value.": (
                reduction == "largest" and comparison not in ("ratio", "value")
            ),
            "best_of needs take: decades or largest.": condition.best_of is not None and not works,
            "multiple (> 0) needs over, take: best and two arms.": condition.multiple is not None
            and (over is None or reduction != "best" or len(condition.arms) != 2 or condition.multiple <= 0),
            f"multiple needs an axis of positive numbers, but {over} has {not_positive}.": (
                condition.multiple is not None and bool(not_positive)
            ),
        }
    )
    _check_reaches(condition)


def _check_reaches(condition: Condition) -> None:
    measures = (measure for measure in (condition.measure, condition.other) if measure and measure.reaches is not None)
    if (measure := next(measures, None)) is None:
        return
    _raise_first(
        {
            "reaches (steps to a level) can't be combined with at or below.": (
                measure.at != "last" or measure.below is not None
            ),
            f"reaches needs take: best, not {condition.reduction}.": condition.reduction != "best",
            "reaches (steps to a level) needs as: ratio or difference, since some runs may never get there.": (
                condition.comparison not in ("ratio", "difference")
            ),
            "reaches would select on the test set; use a validation measure, or no axis.": (
                condition.over is not None and condition.choose_by is None and measure.tag.startswith("test/")
            ),
        }
    )


def _check_tag(key: str, tag: str) -> None:
    """Raise ConfigError if no run logs a tag, or anything that matches a pattern."""
    known = _known_metrics()
    if (find_pattern(tag, known) and "LAYER" not in tag) or any(
        fnmatchcase(name, tag) for name in ("parameters", *known)
    ):
        return
    names = ["parameters", *(name.replace("LAYER", "*") for name in known)]
    raise ConfigError(f"{key}: unknown metric {show(tag)}.{suggest(tag, names) or ' normexp metrics lists them.'}")


_known_metrics = cache(known_metrics)


def _check_evaluated(measure: Measure, sweep: Sweep) -> None:
    """Raise ConfigError for a measure that would read the test accuracy of the training instead of that of an evaluation."""
    values = itertools.chain.from_iterable(axis.values() for axis in sweep.axes.values())
    overrides = itertools.chain(sweep.base, *sweep.arms.values(), *values)
    reads_test = any(fnmatchcase(tag, measure.tag) for tag in evaluations.TAGS)
    plain = measure.tag in evaluations.TAGS and measure == Measure(tag=measure.tag)
    if reads_test and not plain and any(override.startswith(evaluations.PREFIX) for override in overrides):
        tags = " or ".join(evaluations.TAGS)
        raise ConfigError(
            f"measure: {measure.tag} of arms with eval.* must be {tags}, without at, reaches, across and below."
        )


def _check_range(condition: Condition) -> None:
    """Raise ConfigError for a level or a line that the measure can't reach, such as 90 for an accuracy of 90 %."""
    tag, comparison, reduction = condition.measure.tag, condition.comparison, condition.reduction
    reaches, fraction = condition.measure.reaches, is_fraction(tag)
    for key, level in {"reaches": reaches, "working": condition.working_level}.items():
        if fraction and level is not None and not 0 <= level <= 1:
            raise ConfigError(f"{key}={show(level)}: {tag} is a fraction; 90 % is 0.9.")
    low, high, hint = -1.0, 1.0, ""
    if comparison != "correlation":
        if not fraction or reaches is not None or reduction in ("slope", "decades", "largest"):
            return
        if comparison not in ("value", "difference"):
            return
        low, hint = -1.0 if reduction == "gain" else 0.0, "; 3 points are 0.03"
        if comparison == "difference":
            low, high = low - high, high - low
    if condition.contrast is not None:
        low, high = low - high, high - low
    confirm, center = condition.confirm, condition.center
    near = low - confirm <= center <= high + confirm
    if not {">=": confirm <= high, "<=": confirm >= low, "within": near}[condition.direction]:
        of = "a correlation" if comparison == "correlation" else f"{tag} as: {comparison}"
        raise ConfigError(f"confirm={show(confirm)} can't be reached: {of} lies between {low:g} and {high:g}{hint}.")


def _raise_first(problems: Mapping[str, bool]) -> None:
    for problem in (problem for problem, applies in problems.items() if applies):
        raise ConfigError(problem)


def _suggest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    return suggest(word, known) or (f" Known: {', '.join(known)}." if known else "")
