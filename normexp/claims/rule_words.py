"""A rule in words: what its conditions and requirements compare, and with which lines."""

from collections.abc import Sequence

from normexp.claims.schema import Condition
from normexp.claims.verdict import ConditionVerdict, one_line
from normexp.claims.wording import (
    axis_label,
    cell_label,
    format_range,
    is_difference,
    measure_label,
    percent_factor,
    scaled,
    steps_label,
    unit,
    value_label,
)

REDUCTIONS = {
    "best": "{measure} at each arm's best {over}",
    "decades": "range of working {over} in decades, by {measure}",
    "largest": "largest working {over}, by {measure}",
    "min": "lowest {measure} over {over}",
    "max": "highest {measure} over {over}",
    "mean": "mean {measure} over {over}",
    "gain": "gain in {measure} from {over}",
    "slope": "slope of {measure} over {over}",
}
"""Names of a measure reduced along an axis."""


def format_rule(condition: ConditionVerdict) -> str:
    """'>= 3', '<= 1e-12', '1.467 ± 0.05': the line that confirms, in the unit of the effect."""
    line, center = _numbers(condition, condition.confirm)
    if condition.direction == "within":
        return f"{center} ± {line}" if condition.confirm != 0 else f"= {center}"
    return f"{condition.direction} {line}"


def format_line(condition: ConditionVerdict, *, refuting: bool = False) -> str:
    """The line that confirms or refutes: 'at least 3 points', 'within 0.5 points', 'outside 1.467 ± 0.1'."""
    number = condition.refute if refuting else condition.confirm
    line, center = _numbers(condition, number)
    name = unit(condition)
    if line == "1" and name != " times":
        name = name.removesuffix("s")
    if condition.direction != "within":
        return f"{'at least' if (condition.direction == '>=') != refuting else 'at most'} {line}{name}"
    if center == "0":
        return f"{'beyond' if refuting else 'within'} {line}{name}{'' if is_difference(condition) else ' of 0'}"
    return f"{'outside' if refuting else 'within'} {center} ± {line}{name}"


def _numbers(condition: ConditionVerdict, line: float | None) -> tuple[str, str]:
    """A line and the center of the rule, in the unit of the effect."""
    factor = percent_factor(condition)
    number = scaled(line, factor)
    return "-" if number is None else f"{number:.6g}", f"{factor * (condition.center or 0.0):.6g}"


def describe_comparison(condition: ConditionVerdict) -> str:
    """'difference in test accuracy, bn - none'; with a contrast '(bn - none) at depth 10 - (bn - none) at depth 3'."""
    arms, measure, multiple = condition.arms, measure_label(condition.measure), ""
    if condition.reaches is not None:
        measure = steps_label(condition.measure, condition.reaches)
    if condition.over and condition.reduction == "best" and len(arms) == 1 and not condition.contrast:
        return f"{measure} of {arms[0]} at its best {condition.over}"
    if condition.over:
        measure = REDUCTIONS.get(condition.reduction or "", "{measure}").format(measure=measure, over=condition.over)
    if condition.multiple and len(arms) == 2:
        multiple = f" ({arms[0]} at {condition.multiple:g} times the best {condition.over} of {arms[1]})"
    match condition.comparison, arms:
        case ("difference" | "ratio") as comparison, [first, second]:
            head, sign = ("difference in", "-") if comparison == "difference" else ("ratio of", "/")
            text = f"{head} {measure}, {_contrasted(condition, f'{first} {sign} {second}', sign)}{multiple}"
        case "share", [first, second]:
            text = f"{measure}, {first} as a share of {second}"
        case "share", [a, b, c, d]:
            text = f"{measure}, ({a} - {b}) as a share of ({c} - {d})"
        case "correlation", _:
            both = f"between {measure} and {measure_label(condition.other)}" if condition.other else f"of {measure}"
            pooled = f" at each {' and '.join(map(axis_label, condition.pool))}" if condition.pool else ""
            text = f"Kendall's rank correlation {both} over {', '.join(arms)}{pooled}, for each seed"
        case "value", [arm] if condition.contrast:
            text = f"{measure}, {_contrasted(condition, arm, '-')}"
        case _:
            text = f"{measure} of {', '.join(arms)}" if arms else measure
    return text


def _contrasted(condition: ConditionVerdict, effect: str, sign: str) -> str:
    """'(bn - none) at depth 10 - (bn - none) at depth 3', or the effect itself without a contrast."""
    if len(condition.contrast) != 3:
        return effect
    axis, *values = condition.contrast
    effect = f"({effect})" if " " in effect else effect
    first, second = (f"{effect} at {value_label(str(axis), value)}" for value in values)
    return f"{first} {sign} {second}"


def describe_condition(condition: ConditionVerdict) -> str:
    """'difference in test accuracy, bn - none: at least 3 points confirms, at most 1 point refutes; 96.6 % intervals'."""
    levels = {cell.level for cell in condition.cells if cell.level is not None and cell.level < 1}
    level = ", ".join(f"{100 * level:.6g} %" for level in sorted(levels))
    if condition.comparison == "each":
        parts = [f"rule: {format_rule(condition)}{unit(condition)}"]
    else:
        rule = f"{format_line(condition)} confirms, {format_line(condition, refuting=True)} refutes"
        parts = [f"{describe_comparison(condition)}: {rule}"] + [f"{level} intervals"] * bool(level)
    if condition.reaches is not None:
        mean = "geometric mean" if condition.comparison == "ratio" else "mean"
        parts.append(
            f"a run's steps count as the {mean} of the evaluation that gets there, printed below, and the one before"
        )
    return "; ".join(parts + ["doesn't count toward the verdict"] * (not condition.decides))


def describe_requirement(required: ConditionVerdict) -> str:
    """'bn learns (val accuracy of bn: at least 80 %); measured: 91 to 95 % in 3 cells', and where it is not met."""
    text = f"{one_line(required.what)} ({describe_comparison(required)}: {format_line(required)})"
    known = [cell for cell in required.cells if cell.effect is not None]
    if not required.cells:
        return text
    cells = f" in {len(known)} cells" * (len(known) > 1)
    parts = [text, f"measured: {format_range(required, known)}{cells}" if known else "not defined"]
    unmet = [cell for cell in required.cells if cell.outcome != "confirmed"]
    where = ", ".join(filter(None, map(cell_label, unmet)))
    return "; ".join(parts + [f"not met{' for ' if where else ''}{where}"] * bool(unmet))


def combine_label(combine: str, conditions: Sequence[Condition | ConditionVerdict]) -> str:
    """'all must hold', or '2 count toward the verdict and must hold' if some conditions are only reported."""
    deciding = sum(condition.decides for condition in conditions)
    if deciding == len(conditions):
        return "at least one must hold" if combine == "any" else "all must hold"
    counts = f"{deciding} {'counts' if deciding == 1 else 'count'} toward the verdict"
    return f"{counts}, at least one must hold" if combine == "any" and deciding > 1 else f"{counts} and must hold"
