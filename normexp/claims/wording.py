"""Labels and phrases of a verdict, shared by the terminal, the figures and the page."""

import math
from collections.abc import Sequence
from itertools import chain

from normexp.claims.schema import Value, is_number
from normexp.claims.verdict import Cell, ConditionVerdict, Verdict, one_line, plottable
from normexp.config import printable
from normexp.metrics import is_fraction, metric_title
from normexp.plotting.labels import truncate
from normexp.report.groups import format_value

REDUCTIONS = {
    "best": "{measure} at each arm's best {over}",
    "decades": "decades of {over} that work, by {measure}",
    "largest": "largest {over} that works, by {measure}",
    "min": "least {measure} over {over}",
    "max": "largest {measure} over {over}",
    "mean": "mean {measure} over {over}",
    "gain": "gain in {measure} by {over}",
    "slope": "slope of log {measure} over log {over}",
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
    if condition.comparison == "difference" and len(arms) == 2:
        return f"difference in {measure}, {arms[0]} - {arms[1]}"
    if condition.comparison == "ratio" and len(arms) == 2:
        return f"ratio of {measure}, {arms[0]} / {arms[1]}"
    if condition.comparison == "correlation":
        return f"rank correlation of {measure} over {', '.join(arms)}"
    return f"{measure} of {', '.join(arms)}" if arms else measure


def describe_condition(condition: ConditionVerdict, *, intervals: str) -> str:
    """'difference in test accuracy, bn - none: >= 3 points; 97.5 % intervals': comparison, rule, and level of the intervals.

    intervals: the word for these.
    """
    levels = {cell.level for cell in condition.cells if cell.level is not None and cell.level < 1}
    level = ", ".join(f"{100 * level:.6g} %" for level in sorted(levels))
    return (
        f"{describe_comparison(condition)}: {format_rule(condition)}{unit(condition)}"
        + (f"; {level} {intervals}" if level else "")
        + ("" if condition.decides else "; reported, does not decide")
    )


def headline(verdict: Verdict) -> tuple[ConditionVerdict, Cell] | None:
    """The condition and cell that decided the claim; None without cells.

    Of the cells with the claim's outcome, the one nearest to the line; of an exact claim, whose numbers may lie on the line, the
    first.
    """
    cells = list(verdict.cells)
    deciding = [(condition, cell) for condition, cell in cells if condition.decides] or cells
    same = [(condition, cell) for condition, cell in deciding if cell.outcome == verdict.outcome] or deciding
    if verdict.kind == "exact":
        return same[0] if same else None
    return min(same, key=lambda pair: _clearance(*pair), default=None)


def format_headline(verdict: Verdict) -> tuple[str, str, int]:
    """Effect, rule and number of seeds of the headline; '-' without cells."""
    head = headline(verdict)
    if head is None:
        return "-", "-", len(verdict.seeds)
    return format_effect(*head), format_rule(head[0]), seed_count(verdict, head[1])


def headline_label(verdict: Verdict, *, most: int = 200) -> str:
    """'activation=relu, 1 of 4 cells': the position of the headline among several deciding cells.

    most: characters of its name.
    """
    deciding = [condition for condition in verdict.conditions if condition.decides]
    total = sum(len(condition.cells) for condition in deciding)
    head = headline(verdict)
    if total < 2 or head is None:
        return ""
    name = truncate(cell_label(head[1]) or head[0].what, most)
    return f"{name}, 1 of {total} {'conditions' if total == len(deciding) else 'cells'}"


def explain(verdict: Verdict) -> str:
    """The headline in a sentence: effect, rule, and which cell it is."""
    head = headline(verdict)
    if head is None:
        return ""
    condition, cell = head
    share = headline_label(verdict).rpartition(", ")[2]
    parts = "; ".join(filter(None, (cell_label(cell), share)))
    effect = cell.note if cell.outcome == "not comparable" else format_effect(condition, cell)
    beyond = condition.refuted_beyond
    line = "" if beyond is None else f", and is refuted beyond {percent_factor(condition) * beyond:g}"
    where = f" ({parts})" if parts else ""
    rule = f"{format_rule(condition)}{unit(condition)}"
    return printable(f"{condition.what}: {effect}; the rule asks for {rule}{line}{where}.")


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


def facts(verdict: Verdict, *, untrained: str) -> dict[str, str]:
    """How a verdict came about, by term, as far as it is known. untrained: stands for no runs."""
    utc = verdict.judged_at.endswith(("+00:00", "Z"))
    known = {
        "runs": f"{verdict.runs or untrained}, {_duration(verdict.seconds)}",
        "seeds": ", ".join(map(str, verdict.seeds)),
        "scale": "" if verdict.kind == "exact" else scale_label(verdict),
        "judged": f"{verdict.judged_at[:16].replace('T', ' ')}{' UTC' if utc else ''}",
        "with": ", ".join(v if name in ("cpu", "machine") else f"{name} {v}" for name, v in verdict.versions.items()),
        "rule": ", ".join(filter(None, (verdict.rule, verdict.code and f"code {verdict.code}"))),
    }
    if not verdict.runs and verdict.seconds is None:
        del known["runs"]
    return {term: value for term, value in known.items() if value}


def _duration(seconds: float | None) -> str:
    """'132 s', '12 min', '3.4 h'."""
    if seconds is None:
        return "-"
    if seconds < 180:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_table_value(value: Value) -> str:
    """A value of a table: numbers with six digits, or with three if below 0.001."""
    if not is_number(value):
        return "-" if value is None else str(value)
    number = plottable(value)
    return "-" if number is None else f"{value:.{6 if number == 0 or abs(number) >= 1e-3 else 3}g}"


def plural(n: int, noun: str) -> str:
    """'1 run', '3 runs'."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def scaled(value: float | None, factor: float) -> float | None:
    """The value in the unit that is shown."""
    return None if value is None else factor * value


def _format_numbers(
    numbers: Sequence[float | None], *, line: float | None = None, percent: bool, by_magnitude: bool = False
) -> list[str]:
    """Numbers with as many decimals as their spread (or magnitude) is worth, and enough to show on which side of `line` each
    lies."""
    known = [number for number in numbers if number is not None]
    largest = max(map(abs, known), default=0.0)
    span = max(known, default=0.0) - min(known, default=0.0)
    integers = not percent and all(number == round(number) for number in known)
    if integers or not 1e-3 <= largest < 1e6 or 0 < abs(line or 0.0) < 1e-3:
        return ["-" if number is None else f"{number:.{6 if integers else 3}g}" for number in numbers]
    resolution = span if span > 1e-6 * largest and not by_magnitude else largest / 10
    places = min(max(1 - math.floor(math.log10(resolution)), 0), 6) if resolution else 0
    while (
        line is not None and places < 6 and any(n != line and f"{n:.{places}f}" == f"{line:.{places}f}" for n in known)
    ):
        places += 1
    return ["-" if number is None else f"{number:.{places}f}" for number in numbers]


def _clearance(condition: ConditionVerdict, cell: Cell) -> float:
    """Distance from the nearer end of an interval to the line, in widths of the interval."""
    low, high, line = cell.low, cell.high, condition.threshold
    if low is None or high is None or line is None:
        return math.inf
    margin = condition.margin or 0.0
    nearer = min(abs(end - edge) for end in (low, high) for edge in (line - margin, line + margin))
    return nearer / ((high - low if high > low else abs(line)) or 1.0)
