"""What a verdict says in words and numbers: the same in the terminal, in the figures and on the page.

A verdict is the content of its JSON file. Any number in it may be null, and any text somebody else's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from normexp.plotting.style import short
from normexp.report.aggregate import is_share, title
from normexp.report.figures.panels import is_number
from normexp.report.groups import word
from normexp.rundir.safe_read import printable

Json = Mapping[str, Any]

VERDICTS = ("confirmed", "refuted", "inconclusive", "not comparable")

MEANINGS = {
    "confirmed": "The whole interval lies on the rule's side of its line.",
    "refuted": "The whole interval lies on the other side.",
    "inconclusive": "The interval crosses the line: these runs can't tell.",
    "not comparable": "An arm never learned, or a number is not defined, so that the comparison means nothing.",
}

SIGNS = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?", "not comparable": "-"}


def text(value: Any) -> str:
    """A text on one line; empty for none."""
    return "" if value is None else printable(" ".join(str(value).split()))


def finite(value: Any) -> float | None:
    """A number that can be shown on an axis, or None."""
    return float(value) if is_number(value) else None


def verdict_of(of: Json) -> str:
    """The verdict of a claim or a cell: one of VERDICTS, or 'not comparable' for what is none."""
    found = of.get("verdict")
    return found if found in VERDICTS else "not comparable"


def size(verdict: Json) -> str:
    """How much was run: 'quick', 'small scale', 'full scale'; nothing for an exact claim."""
    if verdict.get("quick"):
        return "quick"
    return "" if verdict.get("kind") == "exact" else f"{text(verdict.get('scale'))} scale"


def cells(verdict: Json) -> Iterator[tuple[Json, Json]]:
    """Every cell with its condition."""
    return ((condition, cell) for condition in verdict.get("conditions") or () for cell in condition.get("cells") or ())


def cell_name(cell: Json) -> str:
    """'activation=relu, depth=3'; empty for a condition's only cell."""
    return text(", ".join(f"{axis}={word(value)}" for axis, value in (cell.get("cell") or {}).items()))


def factor(condition: Json) -> float:
    """100 where an effect is shown in points or percent.

    A measure is an accuracy by its name, but what was made of it may be a learning rate or a number of steps.
    """
    seen = [number for cell in condition.get("cells") or () for number in _numbers(cell)]
    share = (
        condition.get("as") in ("difference", "value")
        and condition.get("take") not in ("decades", "largest", "slope")
        and is_share(str(condition.get("measure")))
        and all(abs(number) <= 1 for number in [*seen, finite(condition.get("threshold")) or 0.0])
    )
    return 100.0 if share else 1.0


def unit(condition: Json) -> str:
    """' points', ' %', ' times', or nothing."""
    if factor(condition) > 1:
        return " points" if condition.get("as") == "difference" else " %"
    return " times" if condition.get("as") == "ratio" else ""


def amount(condition: Json, cell: Json) -> str:
    """'+24.1 points [20.3, 27.9]', '2.4 times [1.9, 3.0]'; '-' where there is none."""
    times = factor(condition)
    effect, low, high = (_scaled(cell.get(key), times) for key in ("effect", "low", "high"))
    if effect is None:
        return "-"
    shown = _written([effect, low, high], line=_scaled(condition.get("threshold"), times), share=times > 1)
    sign = "+" if condition.get("as") == "difference" and effect > 0 else ""
    single = (low, high) == (None, None) or (condition.get("as") == "each" and low == high)
    # one end that is no number is a ratio's, and infinite
    interval = (
        "" if single else f" [{shown[1] if low is not None else '-inf'}, {shown[2] if high is not None else 'inf'}]"
    )
    return f"{sign}{shown[0]}{unit(condition)}{interval}"


def asked(condition: Json) -> str:
    """'>= 3', '<= 1e-12', '1.467 ± 0.05', in the unit of the effect."""
    times = factor(condition)
    threshold, margin = (_scaled(condition.get(key), times) for key in ("threshold", "margin"))
    line = "-" if threshold is None else f"{threshold:.6g}"
    if condition.get("is") == "within":
        return f"{line} ± {'-' if margin is None else f'{margin:.6g}'}" if margin != 0 else f"= {line}"
    return f"{text(condition.get('is'))} {line}"


def measured(tag: Any) -> str:
    """'test accuracy' for test/accuracy, 'grad norm' for grad_norm/*."""
    return text(title(str(tag or "")).replace("*", " "))


TAKES = {
    "best": "{measure} at each arm's best {over}",
    "decades": "decades of {over} that work, by {measure}",
    "largest": "largest {over} that works, by {measure}",
    "min": "least {measure} over {over}",
    "max": "largest {measure} over {over}",
    "mean": "mean {measure} over {over}",
    "gain": "gain in {measure} by {over}",
    "slope": "slope of log {measure} over log {over}",
}
"""What is taken of a measure's values along an axis."""


def compared(condition: Json) -> str:
    """What the effect is: 'difference in test accuracy, bn - none'."""
    arms = [text(arm) for arm in condition.get("arms") or ()]
    measure = measured(condition.get("measure"))
    if over := text(condition.get("over")):
        measure = TAKES.get(str(condition.get("take")), "{measure}").format(measure=measure, over=over)
    how = condition.get("as")
    if how == "difference" and len(arms) == 2:
        return f"difference in {measure}, {arms[0]} - {arms[1]}"
    if how == "ratio" and len(arms) == 2:
        return f"ratio of {measure}, {arms[0]} / {arms[1]}"
    if how == "correlation":
        return f"rank correlation of {measure} over {', '.join(arms)}"
    return f"{measure} of {', '.join(arms)}" if arms else measure


def headline(verdict: Json) -> tuple[Json, Json] | None:
    """The condition and the cell that decided: of those with the claim's verdict the one nearest to the line, or, where it was
    computed and may lie exactly on it, the first. None without any cell."""
    found = list(cells(verdict))
    deciding = [pair for pair in found if pair[0].get("decides")] or found
    same = [pair for pair in deciding if verdict_of(pair[1]) == verdict_of(verdict)] or deciding
    if verdict.get("kind") == "exact":
        return same[0] if same else None
    return min(same, key=lambda pair: _clearance(*pair), default=None)


def counted(verdict: Json, *, most: int = 200) -> str:
    """Where the headline is from, if there is more than one cell: 'activation=relu, 1 of 4 cells'. most: letters of a name."""
    deciding = [condition for condition in verdict.get("conditions") or () if condition.get("decides")]
    total = sum(len(condition.get("cells") or ()) for condition in deciding)
    head = headline(verdict)
    if total < 2 or head is None:
        return ""
    name = short(cell_name(head[1]) or text(head[0].get("what")), most)
    return f"{name}, 1 of {total} {'conditions' if total == len(deciding) else 'cells'}"


def seeds(verdict: Json, cell: Json | None = None) -> str:
    """How many seeds there were."""
    n = (cell or {}).get("n")
    return text(len(verdict.get("seeds") or ()) if n is None else n)


def arms(cell: Json, times: float) -> list[str]:
    """The values behind an effect, an arm each: 'bn (lr=0.3): 95.1 95.4 95.0'. times: the condition's factor."""
    chosen = cell.get("chosen") or {}
    made = []
    for arm, values in (cell.get("values") or {}).items():
        each = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
        settings = ", ".join(f"{key}={word(value)}" for key, value in (chosen.get(arm) or {}).items())
        numbers = " ".join(_written([_scaled(value, times) for value in each], share=times > 1, together=True))
        named = f"{arm}{f' ({settings})' if settings else ''}"
        made.append(text(f"{named}: {numbers}" if named else numbers))
    return made


def when(verdict: Json) -> str:
    """'2026-11-21 18:00 UTC'."""
    made = text(verdict.get("made"))
    return f"{made[:16].replace('T', ' ')}{' UTC' if made.endswith(('+00:00', 'Z')) else ''}"


def duration(seconds: Any) -> str:
    """'132 s', '12 min', '3.4 h'."""
    value = finite(seconds)
    if value is None:
        return "-"
    if value < 180:
        return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def versions(verdict: Json) -> str:
    """'normexp 0.1, torch 2.9, python 3.11.7', and the machine's name behind them."""
    found = (verdict.get("versions") or {}).items()
    return text(", ".join(str(value) if key in ("cpu", "machine") else f"{key} {value}" for key, value in found))


def marks(verdict: Json) -> str:
    """'ab12cd34, code ef56ab78': the rule and the code that the verdict is from."""
    rule, code = text(verdict.get("rule")), text(verdict.get("code"))
    return ", ".join(filter(None, (rule, f"code {code}" if code else "")))


def plain_number(value: Any) -> str:
    """A value of a table: numbers with six digits, or three of tiny ones."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else text(value)
    return "-" if finite(value) is None else f"{value:.{6 if value == 0 or abs(value) >= 1e-3 else 3}g}"


def _numbers(cell: Json) -> Iterable[float]:
    values = (cell.get("values") or {}).values()
    each = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    return (number for one in [cell.get("effect"), *each] if (number := finite(one)) is not None)


def _scaled(value: Any, times: float) -> float | None:
    number = finite(value)
    return None if number is None else times * number


def _written(
    numbers: Sequence[float | None], *, line: float | None = None, share: bool, together: bool = False
) -> list[str]:
    """Numbers with the decimals that their spread is worth, and with enough of them to see on which side of the
    line each is. share: whether they are percent. together: the decimals of all, rather than of their spread."""
    known = [number for number in numbers if number is not None]
    largest = max(map(abs, known), default=0.0)
    span = max(known, default=0.0) - min(known, default=0.0)
    whole = not share and all(number == round(number) for number in known)
    if whole or not 1e-3 <= largest < 1e6 or 0 < abs(line or 0.0) < 1e-3:
        return ["-" if number is None else f"{number:.{6 if whole else 3}g}" for number in numbers]
    fine = span if span > 1e-6 * largest and not together else largest / 10
    places = min(max(1 - math.floor(math.log10(fine)), 0), 6) if fine else 0
    while (
        line is not None and places < 6 and any(n != line and f"{n:.{places}f}" == f"{line:.{places}f}" for n in known)
    ):
        places += 1
    return ["-" if number is None else f"{number:.{places}f}" for number in numbers]


def _clearance(condition: Json, cell: Json) -> float:
    """How far the nearer end of an interval is from the rule's line, in widths of the interval."""
    low, high, line = (finite(value) for value in (cell.get("low"), cell.get("high"), condition.get("threshold")))
    if low is None or high is None or line is None:
        return math.inf
    margin = finite(condition.get("margin")) or 0.0
    nearer = min(abs(end - edge) for end in (low, high) for edge in (line - margin, line + margin))
    return nearer / ((high - low if high > low else abs(line)) or 1.0)
