"""Labels and sentences of a verdict, shared by the terminal, the figures and the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from normexp.claims.schema import LOOKS, Value, is_number
from normexp.claims.verdict import Cell, ConditionVerdict, Verdict, one_line, plottable
from normexp.metrics import is_fraction, metric_title
from normexp.report.groups import format_value

UNCLEAR_ALONE = ("none", "off", "on", "default", "true", "false")
"""Words that say nothing without their axis."""

MAX_SEEDS_NAMED = 1000
"""More seeds than that are not advised: the effect is too close to a line."""

MAX_PERCENT_PLACES = 2
"""Decimals of points and percent; more only to show the side of a line."""


def cell_label(cell: Cell) -> str:
    """'relu depth 3'; empty for a condition's only cell."""
    return " ".join(value_label(axis, value) for axis, value in cell.point.items())


def value_label(axis: str, value: Value) -> str:
    """'relu', 'depth 3', 'lr 0.1': a word stands alone; other values follow their axis, without its config group."""
    shown = format_value(value)
    if isinstance(value, str) and value[:1].isalpha() and value.lower() not in UNCLEAR_ALONE:
        return shown
    return f"{axis_label(axis)} {shown}".lstrip()


def axis_label(axis: str) -> str:
    """'batch size' for data.batch_size."""
    return axis.rpartition(".")[2].replace("_", " ")


def percent_factor(condition: ConditionVerdict) -> float:
    """100 if an effect is shown in points or percent, else 1.

    A tag such as test/accuracy is not enough: reduced along an axis it may be a learning rate or a number of steps.
    """
    if condition.comparison == "share":
        return 100.0
    numbers = [number for cell in condition.cells for number in (cell.effect, *chain(*cell.values.values()))]
    fraction = (
        condition.comparison in ("difference", "value")
        and condition.reduction not in ("decades", "largest", "slope")
        and condition.reaches is None
        and is_fraction(condition.measure)
        and all(abs(number or 0) <= 1 for number in [*numbers, condition.confirm])
    )
    return 100.0 if fraction else 1.0


def is_difference(condition: ConditionVerdict) -> bool:
    """Whether effects are differences: between arms, or of one arm's values between two points of an axis."""
    return condition.comparison == "difference" or (condition.comparison == "value" and len(condition.contrast) == 3)


def unit(condition: ConditionVerdict) -> str:
    """' points', ' %', ' times', ' decades', ' steps', or empty."""
    if percent_factor(condition) > 1:
        return " points" if is_difference(condition) else " %"
    if condition.comparison == "ratio":
        return " times"
    if is_difference(condition) and condition.reaches is not None:
        return " steps"
    return " decades" if condition.reduction == "decades" else ""


def format_effect(condition: ConditionVerdict, cell: Cell, *, interval: bool = True) -> str:
    """'+24.1 points [20.3, 27.9]', 'more than 13 times'; '-' if not defined. interval: with it, if there is one."""
    factor = percent_factor(condition)
    effect, low, high = (scaled(number, factor) for number in (cell.effect, cell.low, cell.high))
    if effect is None:
        return "-"
    lines = edges(condition, condition.confirm, condition.refute)
    side, bound = {">": ("more than ", low), "<": ("less than ", high)}.get(cell.bound, ("", None))
    if side and not has_sure_bound(condition, cell):
        side, bound = {">": "at least ", "<": "at most "}[cell.bound], effect
    numbers = [bound] if side else [effect, low, high] if interval else [effect]
    digits = 2 if len(numbers) == 1 and condition.comparison != "each" else None
    shown = _format_numbers(numbers, lines=lines, percent=factor > 1, digits=digits)
    sign = "+" if is_difference(condition) and shown[0].strip("0.") and (numbers[0] or 0.0) > 0 else ""
    text = f"{side}{sign}{shown[0]}{unit(condition)}"
    single = (low, high) == (None, None) or (condition.comparison == "each" and low == high)
    if side or single or not interval:
        return text
    # an end that is null is infinite
    return f"{text} [{shown[1] if low is not None else '-inf'}, {shown[2] if high is not None else 'inf'}]"


def has_sure_bound(condition: ConditionVerdict, cell: Cell) -> bool:
    """Whether the one-sided test bounds an effect of which only a bound is known. A few seeds don't."""
    end = cell.low if cell.bound == ">" else cell.high
    return end is not None and not (condition.comparison == "ratio" and end == 0)


def format_range(condition: ConditionVerdict, cells: Sequence[Cell]) -> str:
    """'+5.0 to +31 points': the smallest and the largest effect of cells that have one."""
    ends = sorted(cells, key=lambda cell: cell.effect or 0.0)
    first, last = (format_effect(condition, cell, interval=False) for cell in (ends[0], ends[-1]))
    return last if first == last else f"{first.removesuffix(unit(condition))} to {last}"


def edges(condition: ConditionVerdict, *lines: float | None) -> list[float]:
    """Ends of the ranges that lines bound, in the unit of the effect."""
    factor, center = percent_factor(condition), condition.center or 0.0
    signs = (-1.0, 1.0) if condition.direction == "within" else (1.0,)
    return [factor * (center + sign * line) for line in lines if line is not None for sign in signs]


def measure_label(tag: str) -> str:
    """'test accuracy' for test/accuracy, 'grad norm' for grad_norm/*."""
    return one_line(metric_title(tag).replace("*", " "))


def steps_label(tag: str, level: float) -> str:
    """'steps to 90 % val accuracy'."""
    return f"steps to {f'{100 * level:g} %' if is_fraction(tag) else f'{level:g}'} {measure_label(tag)}"


def unmet_note(what: str) -> str:
    """The note of a cell for which a requirement of its claim doesn't hold."""
    return f"requirement not met: {what}"


def undefined_note(missing: Mapping[str, int], seeds: int) -> str:
    """The note of a cell whose effect is not defined. missing: number of seeds without a value, by arm."""
    parts = [f"{arm} in {n} of {seeds} seeds" for arm, n in missing.items() if n]
    return f"undefined for {', '.join(parts) or 'some seeds'}"


def no_share_note(arms: Sequence[str]) -> str:
    """The note of a cell whose share has no denominator. arms: two or four."""
    if len(arms) == 2:
        return f"no share: the value of {arms[1]} is not surely above or below 0"
    return f"no share: {arms[2]} minus {arms[3]} is not surely above 0"


def stopped_note(seeds: int) -> str:
    """The note of an undecided cell that gets no more seeds."""
    return f"stopped after {seeds} seeds: even {LOOKS[-1]} would hardly decide"


def end_note(axis: str, ends: Mapping[str, str]) -> str:
    """The note of a cell where an arm's best axis value is the smallest or largest one tried. ends: which end, by arm."""
    arms = ", ".join(f"{end} for {arm}" for arm, end in ends.items())
    return f"best {axis} at the edge of the range: {arms}"


def censored_notes(condition: ConditionVerdict, cell: Cell) -> list[str]:
    """'none never gets there', 'no lr works for none': arms whose number is known on the same side only, for all seeds."""
    largest, over = condition.reduction == "largest", condition.over
    notes = {(False, ">"): "{arm} never gets there", (True, "<"): "no {over} works for {arm}"}
    notes |= {(True, ">"): "even the largest {over} works for {arm}"}
    sides = {arm: next(iter(set(signs)), "") for arm, signs in cell.censored.items() if len(set(signs)) == 1}
    texts = {arm: notes.get((largest, side), "") for arm, side in sides.items()}
    named = {arm: f"arm {arm}" if arm.lower() in UNCLEAR_ALONE else arm for arm in texts}
    return [note.format(arm=named[arm], over=over) for arm, note in texts.items() if note]


def is_open(verdict: Verdict, condition: ConditionVerdict, cell: Cell) -> bool:
    """Whether more seeds for a cell could matter to the verdict."""
    settled = verdict.combine == "any" and verdict.outcome == "confirmed"  # one confirmed cell is enough
    return condition.decides and cell.outcome == "undecided" and bool(cell.n) and not settled


def deciding_seeds(cell: Cell) -> float | None:
    """The number of seeds that would probably decide a cell; None if not known, or more than anyone would train."""
    return cell.seeds_needed if cell.seeds_needed and cell.seeds_needed <= MAX_SEEDS_NAMED else None


def cell_notes(verdict: Verdict, condition: ConditionVerdict, cell: Cell) -> list[str]:
    """Notes on a cell: the number of seeds that would decide it, arms that never get there, and its own."""
    needed, notes = deciding_seeds(cell), list[str]()
    if needed and is_open(verdict, condition, cell):
        limit = f", more than the {LOOKS[-1]} that a claim can have" * (needed > LOOKS[-1])
        notes.append(f"about {needed:.0f} seeds would probably decide{limit}")
    if cell.bound in ("<", ">") and not has_sure_bound(condition, cell):
        notes.append("too few seeds for a sure bound")
    return [*notes, *censored_notes(condition, cell), *([cell.note] if cell.note else [])]


def seed_count(verdict: Verdict, cell: Cell) -> int:
    """Number of seeds of a cell; the claim's, if it is not known."""
    return len(verdict.seeds) if cell.n is None else cell.n


def arm_lines(condition: ConditionVerdict, cell: Cell) -> list[str]:
    """The values behind an effect, one line per arm: 'bn (lr=0.3): 95.1 95.4 95.0'."""
    in_percent = condition.comparison != "share" or is_fraction(condition.measure)
    factor, lines = percent_factor(condition) if in_percent else 1.0, list[str]()
    for arm, values in cell.values.items():
        setting = ", ".join(f"{axis}={format_value(value)}" for axis, value in cell.chosen.get(arm, {}).items())
        scaled_values = [scaled(value, factor) for value in values]
        signs = cell.censored.get(arm) or [""] * len(scaled_values)
        shown = _format_numbers(scaled_values, percent=factor > 1, digits=3)
        numbers = " ".join(f"{sign}{number}" for sign, number in zip(signs, shown, strict=False))
        name = f"{arm}{f' ({setting})' if setting else ''}"
        lines.append(f"{name}: {numbers}" if name else numbers)
    return lines


def look_lines(condition: ConditionVerdict, cell: Cell) -> list[str]:
    """'5 seeds: +1.0 points [-0.2, 2.2]', for each number of seeds at which the cell was judged."""
    lines = list[str]()
    for look in cell.looks:
        open_ = None in (look.low, look.high)  # else no seed of this look was a bound
        at = replace(cell, effect=look.effect, low=look.low, high=look.high, bound=cell.bound if open_ else "")
        lines.append(f"{look.n} seeds: {format_effect(condition, at)}")
    return lines


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
    numbers: Sequence[float | None], *, lines: Sequence[float] = (), percent: bool, digits: int | None = None
) -> list[str]:
    """Round to the decimals that the spread warrants, with enough to show on which side of each line they lie.

    digits: significant digits of the largest number instead.
    """
    numbers = [
        None if number is None else float(f"{number:.12g}") + 0.0 for number in numbers
    ]  # 10 is not 10.000000000000002, and 0 is not -0
    known = [number for number in numbers if number is not None]
    largest = max(map(abs, known), default=0.0)
    span = max(known, default=0.0) - min(known, default=0.0)
    integers = not percent and all(number == round(number) for number in known)
    tiny = largest < 1e-3 and not percent
    if integers or tiny or largest >= 1e6 or any(0 < abs(line) < 1e-3 for line in lines):
        return ["-" if number is None else f"{number:.{6 if integers else 3}g}" for number in numbers]
    resolution = span if span > 1e-6 * largest and digits is None else largest / 10 ** ((digits or 3) - 2)
    places = min(max(1 - math.floor(math.log10(resolution)), 0), 6) if resolution else 0
    places = min(places, MAX_PERCENT_PLACES) if percent else places
    pairs = [(number, line) for number in known for line in lines if number != line]
    while places < 6 and any(f"{number:.{places}f}" == f"{line:.{places}f}" for number, line in pairs):
        places += 1
    rounded = [None if number is None else round(number, places) + 0.0 for number in numbers]  # 0, not -0
    return ["-" if number is None else f"{number:.{places}f}" for number in rounded]
