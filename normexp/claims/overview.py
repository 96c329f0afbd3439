"""Verdicts at a glance: their groups, a sign per cell, and how many of them may be wrong."""

from collections.abc import Iterable, Sequence
from typing import get_args

from normexp.claims.headline import is_outdated
from normexp.claims.schema import Group
from normexp.claims.verdict import OUTCOMES, Cell, ConditionVerdict, Outcome, Verdict

GROUPS: tuple[Group, ...] = get_args(Group)

SIGNS: dict[Outcome, str] = dict(zip(OUTCOMES, "✓◐~✗?-", strict=True))

ASCII = str.maketrans("✓◐✗", "+/x")
"""Signs for terminals that have nothing but ASCII."""

MAX_SIGNS = 24
"""A strip with more cells has counts instead: ✓20 ✗4."""

ERROR = 0.05
"""Probability that a decided experiment is wrong by chance, about; see LOOK_LEVEL in schema.py."""

GRADES = {
    "A": "the rule is older than its seeds, at least 5 seeds, the learning rate tuned and inside its range",
    "B": "one of these is missing",
    "C": "several of them are missing, or a quick run",
}

EXPLORATORY = "Exploratory: the rule changed after runs with these seeds were seen; confirm it on fresh seeds."
QUICK = "Quick run: fewer seeds, steps or values than the full claim. A smoke test, not evidence."


def deciding_cells(verdict: Verdict) -> list[list[Cell]]:
    """The cells of each deciding condition."""
    return [list(condition.cells) for condition in verdict.conditions if condition.decides and condition.cells]


def deciding_pairs(verdict: Verdict) -> list[tuple[ConditionVerdict, Cell]]:
    """Each deciding cell with its condition."""
    return [(condition, cell) for condition, cell in verdict.cells if condition.decides]


def strip(verdict: Verdict, *, ascii_only: bool = False) -> str:
    """'✓✓ ~✗?': a sign per cell, with a space between conditions; counts if there are many cells."""
    conditions = [[SIGNS[cell.outcome] for cell in cells] for cells in deciding_cells(verdict)]
    signs = [sign for of in conditions for sign in of]
    text = ("" if all(len(of) == 1 for of in conditions) else " ").join(map("".join, conditions))
    if len(text) > MAX_SIGNS:
        text = " ".join(f"{sign}{signs.count(sign)}" for sign in SIGNS.values() if sign in signs)
    return text.translate(ASCII) if ascii_only else text


def legend(verdicts: Iterable[Verdict], *, ascii_only: bool = False) -> str:
    """'✓ confirmed  ✗ refuted': the signs that the strips of these verdicts have."""
    outcomes = {cell.outcome for verdict in verdicts for cells in deciding_cells(verdict) for cell in cells}
    text = "  ".join(f"{SIGNS[outcome]} {outcome}" for outcome in OUTCOMES if outcome in outcomes)
    return text.translate(ASCII) if ascii_only else text


def seeds_label(verdict: Verdict) -> str:
    """'5', or '5-12' if some cells needed more seeds than others."""
    counts = [cell.n for cells in deciding_cells(verdict) for cell in cells if cell.n]
    low, high = (min(counts), max(counts)) if counts else (len(verdict.seeds),) * 2
    return str(low) if low == high else f"{low}-{high}"


def grade_label(verdict: Verdict) -> str:
    """'A', 'B', 'C', or 'exact'."""
    return "exact" if verdict.kind == "exact" else verdict.grade


def flags(verdict: Verdict) -> list[str]:
    """Reasons for caution: 'quick run', 'full scale', 'exploratory', 'outdated'."""
    known = {
        "quick run": verdict.quick,
        "full scale": verdict.scale == "full",
        "exploratory": verdict.exploratory,
        "outdated": is_outdated(verdict),
    }
    return [flag for flag, holds in known.items() if holds]


def grade_sentence(verdict: Verdict) -> str:
    """'B: a best value is at the end of its range'; empty for exact claims."""
    if not verdict.grade:
        return ""
    return f"{verdict.grade}: {'; '.join(verdict.lacks) or GRADES.get(verdict.grade, '')}"


def trust(verdict: Verdict) -> list[str]:
    """Sentences on how sure a verdict is: its grade with what it lacks, the chance that a new seed agrees, and marks."""
    sign = same_sign_label(deciding_pairs(verdict))
    return [
        *[f"Grade {grade_sentence(verdict)}."] * bool(verdict.grade),
        *[f"Probability that the effect has the same sign in a new seed: {sign}."] * bool(sign),
        *[EXPLORATORY] * verdict.exploratory,
        *[QUICK] * verdict.quick,
    ]


def same_sign(condition: ConditionVerdict, cell: Cell) -> float | None:
    """Probability that the effect has the same sign in a new seed (for a ratio: is on the same side of 1).

    None if not known, or if the sign doesn't matter because the rule asks for a small effect.
    """
    return None if cell.win is None or condition.direction == "within" else max(cell.win, 1 - cell.win)


def same_sign_label(cells: Iterable[tuple[ConditionVerdict, Cell]]) -> str:
    """'86 %', '71 to 95 %'; empty if not known for any of the cells."""
    known = [100 * p for pair in cells if (p := same_sign(*pair)) is not None and 0 <= p <= 1]
    ends = list(dict.fromkeys(f"{end:.0f}" for end in (min(known), max(known)))) if known else []
    return f"{' to '.join(ends)} %" if ends else ""


def expected_errors(verdicts: Sequence[Verdict]) -> str:
    """'Expect at most about 1 false verdict among the 21 decided experiments: ...'; empty if none is decided."""
    decided = [v for v in verdicts if v.kind == "experiment" and v.outcome not in ("undecided", "not comparable")]
    if not decided:
        return ""
    number = ERROR * len(decided)
    false = f"{number:.0f} false verdict{'s' * (number >= 1.5)}" if number >= 1 else "one false verdict"
    among = f"the {len(decided)} decided experiments" if len(decided) > 1 else "1 decided experiment"
    errs = f"if the truth is at a line, a rule errs in about {100 * ERROR:.0f} % of cases, otherwise less often."
    return f"Expect at most {false} among {among}: {errs}"
