"""The headline of a verdict: what holds and where, in words with the effects; and what would decide the rest."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from normexp.claims.schema import LOOKS, Claim, Value
from normexp.claims.verdict import OUTCOMES, Cell, ConditionVerdict, Outcome, Verdict
from normexp.claims.wording import (
    axis_label,
    cell_label,
    censored_notes,
    deciding_seeds,
    format_effect,
    format_range,
    is_open,
    plural,
    value_label,
)
from normexp.config import printable
from normexp.report.groups import format_value

OUTDATED = "Outdated."
"""Start of the explanation of an outdated verdict."""

MAX_LENGTH, MAX_EXPLANATION = 200, 600
"""Longest headline in a table, and on its own, as far as shorter forms of it go."""

MAX_CELLS = 3
"""Cells of a condition with the same outcome that a headline spells out; of more it gives the range."""


def headline(verdict: Verdict, *, max_length: int = MAX_LENGTH) -> str:
    """A sentence per deciding condition: first what holds, with its cells and effects, then what doesn't.

    It is as detailed as max_length allows, but always has a condition that explains the verdict. If the claim is confirmed, it
    ends with what is refuted of the conditions that are only reported.
    """
    deciding = [condition for condition in verdict.conditions if condition.decides and condition.cells]
    deciding.sort(key=lambda condition: min(map(OUTCOMES.index, _outcomes(condition))))
    if verdict.kind == "exact":
        deciding = _telling(deciding, verdict.outcome)
    reported = [condition for condition in verdict.conditions if not condition.decides]
    against = [c for c in reported if "refuted" in _outcomes(c)] if verdict.outcome == "confirmed" else []
    notes = [f"Not counted: {_say(c, 1, marked=True, interval=False, only='refuted')}." for c in against]
    marked = any(_outcomes(condition) - {"not comparable"} - {verdict.outcome} for condition in deciding)
    sentences = list[str]()
    for most, intervals in ((MAX_CELLS, True), (1, True), (1, False)):
        shown = intervals and verdict.kind == "experiment"
        texts = [(_say(c, most, marked=marked, interval=shown), map(cell_label, c.cells)) for c in deciding]
        sentences = [f"{_capitalize(text, labels)}." for text, labels in texts]
        if len(" ".join(sentences + notes)) <= max_length:
            break
    while len(notes) > 1 and len(" ".join(sentences + notes)) > max_length:
        notes.pop()
    droppable = [i for i, of in enumerate(deciding) if i and of is not _decisive(deciding, verdict.outcome)]
    while droppable and len(" ".join(sentences + notes)) > max_length:
        del sentences[droppable.pop()]
    left = len(deciding) + len(against) - len(sentences) - len(notes)
    more = f"{plural(left, 'more condition')}." if left and verdict.kind == "experiment" else ""
    return printable(" ".join([*sentences, *notes, *[more] * bool(more)]))


def _decisive(conditions: Sequence[ConditionVerdict], outcome: Outcome) -> ConditionVerdict | None:
    """The first condition with a cell that has the claim's outcome, or, if it is confirmed in part, one that surely fails."""
    wanted = {"refuted", "smaller than claimed"} if outcome == "confirmed in part" else {outcome}
    return next((condition for condition in conditions if _outcomes(condition) & wanted), None)


def _telling(conditions: Sequence[ConditionVerdict], outcome: Outcome) -> list[ConditionVerdict]:
    """The conditions of an exact claim that explain its outcome; each has one cell.

    The first one if all hold, else those that fail, and before them one that holds if the claim is confirmed in part.
    """
    holds = [condition for condition in conditions if _outcomes(condition) == {"confirmed"}]
    fails = [condition for condition in conditions if _outcomes(condition) != {"confirmed"}]
    return holds[:1] * (outcome == "confirmed in part" or not fails) + fails


def _outcomes(condition: ConditionVerdict) -> set[Outcome]:
    return {cell.outcome for cell in condition.cells}


def _say(condition: ConditionVerdict, most: int, *, marked: bool, interval: bool, only: Outcome | None = None) -> str:
    """'confirmed for sigmoid: bn gains +80 points [70, 90]; refuted for relu: +0.1 points [-0.2, 0.4]'.

    most: cells to spell out. marked: name the outcome even if all cells have the same. only: leave out cells with other outcomes.
    """
    present = [outcome for outcome in OUTCOMES if outcome in _outcomes(condition) and only in (None, outcome)]
    parts, said = list[str](), False
    for outcome in present:
        cells = [cell for cell in condition.cells if cell.outcome == outcome]
        known = [cell for cell in cells if cell.effect is not None]
        where = scope(cells, condition.cells)
        mark = f"{outcome} for {where}" if where else outcome if marked or not known else ""
        sentence = (
            "{effect}" if said else condition.says if "{effect}" in condition.says else condition.what + ": {effect}"
        )
        if outcome == "not comparable" or not known:
            notes = list(dict.fromkeys(filter(None, (cell.note for cell in cells))))
            what = "" if said or len(present) > 1 else f" ({condition.what})"
            parts.append(f"{mark}{what}{f': {join(notes)}' if notes else ''}")
            continue
        labels, said = len(cells) > 1 or not where, True
        if where and labels and len(known) <= most:  # then each cell is named
            mark = outcome
        text = _effects(condition, known, sentence, most, labels=labels, interval=interval)
        parts.append(f"{mark}: {text}" if mark else text)
    return "; ".join(parts)


def _effects(
    condition: ConditionVerdict, cells: Sequence[Cell], sentence: str, most: int, *, labels: bool, interval: bool
) -> str:
    """'relu: bn gains +2 points [1, 3]; sigmoid: +80 points [70, 90]', or 'bn gains +2 to +80 points in 9 cells'.

    labels: name the cells.
    """
    if len(cells) > most:
        text = sentence.replace("{effect}", format_range(condition, cells))
        return f"{text} in {len(cells)} cells" if len(cells) == len(condition.cells) else text
    parts = list[str]()
    for cell in cells:
        effect, notes = format_effect(condition, cell, interval=interval), censored_notes(condition, cell)
        text = effect if parts else sentence.replace("{effect}", effect)
        label = cell_label(cell) if labels else ""
        parts.append(f"{label}: " * bool(label) + text + f" ({join(notes)})" * bool(notes))
    return "; ".join(parts)


def scope(cells: Sequence[Cell], among: Sequence[Cell]) -> str:
    """Some of a condition's cells, by what they have in common: 'sigmoid', 'relu and tanh, depth 3', '3 of 9 cells'.

    Empty for all of them.
    """
    if len(cells) == len(among):
        return ""
    axes = list(dict.fromkeys(axis for cell in among for axis in cell.point))
    values = {axis: _values(axis, cells) for axis in axes}
    inside = [cell for cell in among if all(_key(cell.point.get(axis)) in values[axis] for axis in axes)]
    narrow = {axis: list(values[axis].values()) for axis in axes if len(values[axis]) < len(_values(axis, among))}
    if len(inside) == len(cells) and narrow and all(len(of) <= MAX_CELLS for of in narrow.values()):
        return ", ".join(_join_values(axis, of) for axis, of in narrow.items())
    labels = [label for cell in cells if (label := cell_label(cell))]
    return join(labels) if len(labels) == len(cells) <= MAX_CELLS else f"{len(cells)} of {len(among)} cells"


def _values(axis: str, cells: Iterable[Cell]) -> dict[str, Value]:
    return {_key(value): value for value in (cell.point.get(axis) for cell in cells)}


def _key(value: Value) -> str:
    return f"{type(value)} {value}"


def _join_values(axis: str, values: Sequence[Value]) -> str:
    """'relu and tanh', 'depth 3 and 5'."""
    labels = [value_label(axis, value) for value in values]
    name = f"{axis_label(axis)} "
    if all(label == name + format_value(value) for label, value in zip(labels, values, strict=True)):
        return name + join(list(map(format_value, values)))
    return join(labels)


def join(words: Sequence[str]) -> str:
    """'a, b and c'."""
    *others, last = words or [""]
    return f"{', '.join(others)} and {last}" if others else last


def tally(verdict: Verdict) -> str:
    """'all 7 conditions confirmed', '1 of 4 cells refuted, 3 confirmed'; empty unless several cells decide."""
    deciding = [condition for condition in verdict.conditions if condition.decides]
    outcomes = [cell.outcome for condition in deciding for cell in condition.cells]
    total, noun = len(outcomes), "conditions" if len(outcomes) == len(deciding) else "cells"
    if total < 2:
        return ""
    counts = Counter(outcomes)
    if len(counts) == 1:
        return f"{'both' if total == 2 else f'all {total}'} {noun} {outcomes[0]}"
    first, *others = sorted(counts, key=lambda outcome: (outcome != verdict.outcome, OUTCOMES.index(outcome)))
    return ", ".join([f"{counts[first]} of {total} {noun} {first}", *(f"{counts[o]} {o}" for o in others)])


def outlook(verdict: Verdict, *, advice: bool = True) -> str:
    """Advice on undecided cells: 'About 12 seeds would probably decide.' Empty if there are none.

    advice: what a user can do where no number of seeds that a claim can have would.
    """
    cells = [cell for condition, cell in verdict.cells if is_open(verdict, condition, cell)]
    if not cells or verdict.kind == "exact":
        return ""
    if verdict.quick:
        return "The full claim, without --quick, has more seeds, steps or values."
    single = [cell for cell in cells if cell.n == 1]
    known = [needed for cell in cells if (needed := deciding_seeds(cell))]
    bounds = [cell for cell in cells if cell.bound and cell not in single]
    close, most = len(cells) - len(single) - len(known) - len(bounds), max(known, default=0)
    used, sentences = verdict.max_seeds or LOOKS[-1], list[str]()
    if most > LOOKS[-1]:
        sentences += [f"About {most:.0f} seeds would probably decide, more than the {LOOKS[-1]} that a claim can have"]
        smaller = (
            "A claim of your own whose runs differ less between seeds (more steps, a larger test set) may need fewer"
        )
        sentences += [smaller] * advice
    elif known:
        more = f", more than the {used} allowed: list more in the file, or repeat without --max-seeds" * (most > used)
        sentences += [f"About {most:.0f} seeds would probably decide{more}"]
    sentences += ["Longer runs or a wider range would decide values that are only bounds"] if bounds else []
    sentences += ["One seed has no spread: list more in the file"] if single else []
    alone = close == sum(condition.decides for condition, _ in verdict.cells)
    rest = plural(close, "undecided effect") if not alone else "the effects" if close > 1 else "the effect"
    rest += " is" if close == 1 else " are"
    sentences += [f"More seeds would hardly help: {rest} too close to a line"] if close else []
    return " ".join(f"{sentence}." for sentence in sentences)


def explain(verdict: Verdict) -> str:
    """The headline, how many cells have which outcome, and what would decide the undecided ones."""
    count = f"{_capitalize(text)}." if (text := tally(verdict)) else ""
    return " ".join(filter(None, (headline(verdict, max_length=MAX_EXPLANATION), count, outlook(verdict))))


def brief(verdict: Verdict) -> str:
    """The headline, and what would decide an undecided verdict."""
    open_ = verdict.outcome == "undecided"
    return f"{headline(verdict)} {outlook(verdict, advice=False) if open_ else ''}".strip()


def _capitalize(text: str, labels: Iterable[str] = ()) -> str:
    """A capital first letter, unless the text starts with a short name such as 'bn' or 'dl/dx', or with one of the labels."""
    first = text.partition(" ")[0].rstrip(",:")
    label = any(text.startswith(f"{label}: ") for label in labels if label)
    return text[:1].upper() + text[1:] if first.isalpha() and len(first) > 2 and not label else text


def reworded(verdict: Verdict, claim: Claim) -> Verdict:
    """A verdict on the claim's current rule, with the current sentences of the claim's file."""
    if len(verdict.conditions) != len(claim.rule):  # a damaged file
        return verdict
    conditions = [
        replace(old, what=new.what, says=new.says, other=new.other, pool=new.pool)
        for old, new in zip(verdict.conditions, map(ConditionVerdict.of, claim.rule), strict=True)
    ]
    requires = list(map(ConditionVerdict.of, claim.requires))
    if len(requires) == len(verdict.requires):  # else it was judged before requirements were stored
        requires = [replace(new, cells=old.cells) for old, new in zip(verdict.requires, requires, strict=True)]
    words = {
        name: getattr(claim, name) for name in ("statement", "source", "background", "explanation", "would_change")
    }
    verdict = replace(verdict, conditions=conditions, requires=requires, **words)
    return replace(verdict, because=explain(verdict))


def outdated(verdict: Verdict) -> Verdict:
    """The verdict, marked as one of an earlier rule or code. `because` should start with a sentence on what has changed."""
    return replace(verdict, because=f"{OUTDATED} {verdict.because}")


def is_outdated(verdict: Verdict) -> bool:
    """Whether the verdict is marked as outdated."""
    return verdict.because.startswith(OUTDATED)


def outdated_label(verdict: Verdict) -> str:
    """'Outdated. Only the code that judges has changed: ...'; empty if the verdict is not marked."""
    reason, end, _ = verdict.because.removeprefix(OUTDATED).partition(". ")
    return f"{OUTDATED}{reason}{end}".rstrip() if is_outdated(verdict) else ""
