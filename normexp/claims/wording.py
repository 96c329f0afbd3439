"""Labels and sentences of a verdict, shared by the terminal, the figures and the page."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain

from normexp.claims.schema import Condition, Value, is_number
from normexp.claims.verdict import Cell, ConditionVerdict, Verdict, one_line, plottable
from normexp.metrics import is_fraction, metric_title
from normexp.report.groups import format_value
from normexp.sweeps.progress import format_duration

REDUCTIONS = {
    "best": "{measure} at each arm's best {over}",
    "decades": "range of working {over} in decades, by {measure}",
    "largest": "largest working {over}, by {measure}",
    "min": "lowest {measure} over {over}",
    "max": "highest {measure} over {over}",
    "mean": "mean {measure} over {over}",
    "gain": "gain in {measure} from {over}",
    "slope": "slope of log {measure} against log {over}",
}
"""Names of a measure reduced along an axis."""


def scale_label(verdict: Verdict) -> str:
    """'quick', 'small scale', 'full scale'; empty for an exact claim."""
    if verdict.quick:
        return "quick"
    return "" if verdict.kind == "exact" else f"{verdict.scale} scale"


def cell_label(cell: Cell) -> str:
    """'activation=relu, depth=3'; empty for a condition's only cell."""
    return ", ".join(f"{axis}={format_value(value)}" for axis, value in cell.point.items())


def percent_factor(condition: ConditionVerdict) -> float:
    """100 if an effect is shown in points or percent, else 1.

    A tag such as test/accuracy is not enough: reduced along an axis it may be a learning rate or a number of steps.
    """
    numbers = [number for cell in condition.cells for number in (cell.effect, *chain(*cell.values.values()))]
    share = (
        condition.comparison in ("difference", "value")
        and condition.reduction not in ("decades", "largest", "slope")
        and is_fraction(condition.measure)
        and all(abs(number or 0) <= 1 for number in [*numbers, condition.threshold])
    )
    return 100.0 if share else 1.0


def unit(condition: ConditionVerdict) -> str:
    """' points', ' %', ' times', or empty."""
    if percent_factor(condition) > 1:
        return " points" if condition.comparison == "difference" else " %"
    return " times" if condition.comparison == "ratio" else ""


def format_effect(condition: ConditionVerdict, cell: Cell) -> str:
    """'+24.1 points [20.3, 27.9]', '2.4 times [1.9, 3.0]'; '-' if not defined."""
    factor = percent_factor(condition)
    effect, low, high = (scaled(number, factor) for number in (cell.effect, cell.low, cell.high))
    if effect is None:
        return "-"
    shown = _format_numbers([effect, low, high], line=scaled(condition.threshold, factor), percent=factor > 1)
    sign = "+" if condition.comparison == "difference" and effect > 0 else ""
    single = (low, high) == (None, None) or (condition.comparison == "each" and low == high)
    # an end that is null is infinite
    interval = f" [{shown[1] if low is not None else '-inf'}, {shown[2] if high is not None else 'inf'}]"
    return f"{sign}{shown[0]}{unit(condition)}{'' if single else interval}"


def format_rule(condition: ConditionVerdict) -> str:
    """'>= 3', '<= 1e-12', '1.467 ± 0.05', in the unit of the effect."""
    factor = percent_factor(condition)
    threshold, margin = scaled(condition.threshold, factor), scaled(condition.margin, factor)
    line = "-" if threshold is None else f"{threshold:.6g}"
    if condition.direction == "within":
        return f"{line} ± {'-' if margin is None else f'{margin:.6g}'}" if margin != 0 else f"= {line}"
    return f"{condition.direction} {line}"


def measure_label(tag: str) -> str:
    """'test accuracy' for test/accuracy, 'grad norm' for grad_norm/*."""
    return one_line(metric_title(tag).replace("*", " "))


def describe_comparison(condition: ConditionVerdict) -> str:
    """'difference in test accuracy, bn - none'."""
    arms, measure = condition.arms, measure_label(condition.measure)
    if condition.over:
        measure = REDUCTIONS.get(condition.reduction or "", "{measure}").format(measure=measure, over=condition.over)
    match condition.comparison, arms:
        case "difference", [first, second]:
            return f"difference in {measure}, {first} - {second}"
        case "ratio", [first, second]:
            return f"ratio of {measure}, {first} / {second}"
        case "correlation", _:
            return f"rank correlation of {measure} across {', '.join(arms)}"
    return f"{measure} of {', '.join(arms)}" if arms else measure


def describe_condition(condition: ConditionVerdict) -> str:
    """'difference in test accuracy, bn - none: >= 3 points; 97.5 % intervals': comparison, rule, and level of the intervals."""
    levels = {cell.level for cell in condition.cells if cell.level is not None and cell.level < 1}
    level = ", ".join(f"{100 * level:.6g} %" for level in sorted(levels))
    compared = "rule" if condition.comparison == "each" else describe_comparison(condition)
    parts = [f"{compared}: {format_rule(condition)}{unit(condition)}"] + [f"{level} intervals"] * bool(level)
    return "; ".join(parts + ["doesn't count toward the verdict"] * (not condition.decides))


def unmet_note(what: str) -> str:
    """The note of a cell for which a requirement of its claim doesn't hold."""
    return f"requirement not met: {what}"


def undefined_note(missing: Mapping[str, int], seeds: int) -> str:
    """The note of a cell whose effect is not defined. missing: number of seeds without a value, by arm."""
    parts = [f"{arm} in {n} of {seeds} seeds" for arm, n in missing.items() if n]
    return f"undefined for {', '.join(parts) or 'some seeds'}"


def edge_note(axis: str, ends: Mapping[str, str]) -> str:
    """The note of a cell where an arm's best axis value is the smallest or largest one tried. ends: which end, by arm."""
    arms = ", ".join(f"{end} for {arm}" for arm, end in ends.items())
    return f"best {axis} at the edge of the range: {arms}"


def combine_label(combine: str, conditions: Sequence[Condition | ConditionVerdict]) -> str:
    """'all must hold', or '2 count toward the verdict and must hold' if some conditions are only reported."""
    deciding = sum(condition.decides for condition in conditions)
    if deciding == len(conditions):
        return "at least one must hold" if combine == "any" else "all must hold"
    counts = f"{deciding} {'counts' if deciding == 1 else 'count'} toward the verdict"
    return f"{counts}, at least one must hold" if combine == "any" and deciding > 1 else f"{counts} and must hold"


def seed_count(verdict: Verdict, cell: Cell) -> int:
    """Number of seeds of a cell; the claim's, if it is not known."""
    return len(verdict.seeds) if cell.n is None else cell.n


def arm_lines(condition: ConditionVerdict, cell: Cell) -> list[str]:
    """The values behind an effect, one line per arm: 'bn (lr=0.3): 95.1 95.4 95.0'."""
    factor, lines = percent_factor(condition), []
    for arm, values in cell.values.items():
        setting = ", ".join(f"{axis}={format_value(value)}" for axis, value in cell.chosen.get(arm, {}).items())
        scaled_values = [scaled(value, factor) for value in values]
        numbers = " ".join(_format_numbers(scaled_values, percent=factor > 1, by_magnitude=True))
        name = f"{arm}{f' ({setting})' if setting else ''}"
        lines.append(f"{name}: {numbers}" if name else numbers)
    return lines


def facts(verdict: Verdict) -> dict[str, str]:
    """How a verdict was reached, by term, as far as known."""
    utc, hashes = verdict.judged_at.endswith(("+00:00", "Z")), {"rule": verdict.rule, "code": verdict.code}
    seconds, trained = verdict.seconds, str(verdict.runs or "no training")
    duration = "" if seconds is None else f"{seconds:.2g} s" if seconds < 10 else format_duration(seconds)
    known = {
        "runs": f"{trained}, {duration}" if duration else trained,
        "seeds": ", ".join(map(str, verdict.seeds)),
        "scale": "" if verdict.kind == "exact" else scale_label(verdict),
        "judged": f"{verdict.judged_at[:16].replace('T', ' ')}{' UTC' if utc else ''}",
        "versions": ", ".join(f"{name} {v}" for name, v in verdict.versions.items()),
        "hashes": ", ".join(f"{name} {hashed}" for name, hashed in hashes.items() if hashed),
    }
    return {term: value for term, value in known.items() if value}


def format_table_value(value: Value, *, digits: int = 6) -> str:
    """A value of a table: integers as they are, other numbers with `digits` digits, or three if below 0.001."""
    if not is_number(value):
        return "-" if value is None else str(value)
    number = plottable(value)
    if number is None or isinstance(value, int):
        return "-" if number is None else str(value)
    return f"{value:.{digits if number == 0 or abs(number) >= 1e-3 else 3}g}"


def plural(n: int, noun: str) -> str:
    """'1 run', '3 runs'."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def scaled(value: float | None, factor: float) -> float | None:
    """The value in the unit that is shown."""
    return None if value is None else factor * value


def _format_numbers(
    numbers: Sequence[float | None], *, line: float | None = None, percent: bool, by_magnitude: bool = False
) -> list[str]:
    """Round to the decimals that the spread (or magnitude) warrants, with enough to show on which side of `line` each lies."""
    known = [number for number in numbers if number is not None]
    largest = max(map(abs, known), default=0.0)
    span = max(known, default=0.0) - min(known, default=0.0)
    integers = not percent and all(number == round(number) for number in known)
    if integers or not 1e-3 <= largest < 1e6 or 0 < abs(line or 0.0) < 1e-3:
        return ["-" if number is None else f"{number:.{6 if integers else 3}g}" for number in numbers]
    resolution = span if span > 1e-6 * largest and not by_magnitude else largest / 10
    places = min(max(1 - math.floor(math.log10(resolution)), 0), 6) if resolution else 0
    others = [] if line is None else [number for number in known if number != line]
    while places < 6 and any(f"{number:.{places}f}" == f"{line:.{places}f}" for number in others):
        places += 1
    return ["-" if number is None else f"{number:.{places}f}" for number in numbers]
