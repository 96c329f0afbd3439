"""The verdict on a claim: its types, and the JSON file that tables, figures and the page are drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NewType, get_args, get_origin, get_type_hints

from normexp.claims.schema import Condition, Group, Point, Value, is_number
from normexp.config import printable
from normexp.rundir import atomic, safe_read
from normexp.rundir.reader import displayable

FORMAT = 2

MAX_BYTES = 2**26
"""Limit on the size of a verdict file, which may come from anyone; real ones have a few hundred kilobytes."""

MAX_NUMBER = 1e100
"""Limit on the numbers in a file, so that axis limits and their squares don't overflow."""

Outcome = Literal["confirmed", "confirmed in part", "smaller than claimed", "refuted", "undecided", "not comparable"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

Lines = NewType("Lines", str)
"""Text whose line breaks are kept; other text is on one line."""

KEYS = {"outcome": "verdict", "point": "cell", "judged_at": "made"}
KEYS |= {"comparison": "as", "direction": "is", "reduction": "take"}  # as in the claim's file
"""Keys in the file that differ from the attribute's name."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """The effect of a cell and its one-sided bounds over the first n seeds; None if not defined or infinite."""

    n: int
    effect: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One comparison, at one value of each axis that is neither reduced nor contrasted.

    effect, low, high: in the measure's unit, or a factor for ratios; None if not defined or infinite. bound: ">" if the effect is
    only known to be at least this, "<" at most, "?" neither. level: confidence level of the interval. n: number of seeds with an
    effect. looks: the numbers of seeds that it was judged with. seeds_needed: the number that would probably decide it, if it is
    undecided. win: probability that the effect is above 0 (or 1, for ratios) in a new seed. values: by arm, one number per seed.
    censored: by arm, ">" or "<" where the number is only a bound. chosen: by arm, the axis value chosen on other seeds.
    at_end: by arm, whether that is the smallest or largest one tried.
    """

    point: Point
    outcome: Outcome
    effect: float | None
    bound: str = ""
    low: float | None = None
    high: float | None = None
    level: float | None
    n: int | None
    looks: Sequence[Look] = ()
    seeds_needed: float | None = None
    win: float | None = None
    values: Mapping[str, Sequence[float | None]]
    censored: Mapping[str, Sequence[str]] = field(default_factory=dict)
    chosen: Mapping[str, Point]
    at_end: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConditionVerdict:
    """A condition of the rule, reduced to what a verdict needs.

    measure, other: tags; see schema.Condition. contrast: an axis and two of its values. Cells of a requirement have no interval.
    """

    what: str
    says: str
    decides: bool
    measure: str
    other: str | None = None
    reaches: float | None
    comparison: str
    reduction: str | None
    over: str | None
    multiple: float | None = None
    contrast: Sequence[Value] = ()
    arms: Sequence[str]
    pool: Sequence[str] = ()
    direction: str
    center: float | None
    confirm: float | None
    refute: float | None
    cells: Sequence[Cell]

    @classmethod
    def of(cls, condition: Condition, cells: Sequence[Cell] = ()) -> ConditionVerdict:
        """The condition with its judged cells; without cells before anything is run."""
        sentence = ("what", "says", "decides", "comparison", "over", "arms", "pool")
        lines = ("direction", "center", "confirm", "refute", "multiple")
        return cls(
            **{name: getattr(condition, name) for name in sentence + lines},
            measure=condition.measure.tag,
            other=condition.other.tag if condition.other else None,
            reaches=condition.measure.reaches,
            reduction=condition.reduction if condition.over else None,
            contrast=condition.contrast or (),
            cells=cells,
        )


@dataclass(frozen=True, kw_only=True)
class Series:
    """A panel of the claim's figure.

    arms: by arm, points (x, one y per seed). x: the axis; empty if the arms themselves stand side by side. line: y of a
    horizontal line.
    """

    title: str
    x: str
    log_x: bool
    y: str
    line: float | None
    arms: Mapping[str, Sequence[tuple[Value, Sequence[float | None]]]]


@dataclass(frozen=True)
class Table:
    """A table for the reader. Every row has one cell per column."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a claim, with everything needed to show it and to run it again.

    background, would_change, data: as in schema.Claim.
    seeds: in the order of the file, as far as some cell used them. max_seeds: the most that any cell was allowed. grade: A to C,
    and lacks: why it is not A. exploratory: seeds of it were seen under another rule. setup: what was trained, by term; see
    setup.py. tables, drawing: of exact claims. seconds: of training or computing. folder: of the runs. judged_at: ISO 8601.
    rule, code, judging: fingerprints of the claim's file, of the code that computes a run's numbers, and of the code that judges
    them; see fingerprint.py. because: the deciding cell in a sentence.
    """

    claim: str
    kind: Literal["exact", "experiment"]
    group: Group
    statement: str
    source: str
    background: Lines = Lines("")
    explanation: Lines
    would_change: Lines = Lines("")
    data: Lines = Lines("")
    scale: str
    quick: bool
    outcome: Outcome
    combine: Literal["any", "all"]
    conditions: Sequence[ConditionVerdict]
    requires: Sequence[ConditionVerdict] = ()
    series: Sequence[Series] = ()
    tables: Sequence[Table] = ()
    drawing: Lines | None = None
    seeds: Sequence[int]
    max_seeds: int | None = None
    grade: str = ""
    lacks: Sequence[str] = ()
    exploratory: bool = False
    setup: Mapping[str, str] = field(default_factory=dict)
    runs: int = 0
    seconds: float | None
    folder: str | None = None
    command: str
    judged_at: str
    versions: Mapping[str, str]
    rule: str
    code: str
    judging: str
    because: str = ""

    @property
    def cells(self) -> Iterator[tuple[ConditionVerdict, Cell]]:
        """Every cell with its condition."""
        return ((condition, cell) for condition in self.conditions for cell in condition.cells)

    def to_json(self) -> dict[str, Any]:
        """The content of the file, in strict JSON: numbers that are not finite become null."""
        content = asdict(self, dict_factory=lambda items: {KEYS.get(name, name): value for name, value in items})
        strict: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **content}), parse_constant=lambda _: None)
        return strict

    @classmethod
    def from_json(cls, content: Any) -> Verdict | None:
        """Read a file's content, however damaged or hostile. Returns None if it is not a verdict of this format.

        Values of another type than expected are left out, and text is printable.
        """
        try:
            tree = displayable(content, keep_lines=True)
        except ValueError:
            return None
        if not isinstance(tree, dict) or tree.get("format") != FORMAT or not isinstance(tree.get("conditions"), list):
            return None
        verdict: Verdict = _read(tree, cls)
        return verdict


def path_of(folder: Path, name: str, *, scale: str, quick: bool) -> Path:
    """The verdict file of a claim. folder: of all claims."""
    return folder / f"{name}{'.full' * (scale == 'full')}{'.quick' * quick}.json"


def write(path: Path, verdict: Verdict) -> None:
    """Write a verdict file."""
    atomic.write_text(path, json.dumps(verdict.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read(path: Path) -> Verdict | None:
    """The verdict in a file; None if the file is missing or unreadable."""
    with suppress(OSError, ValueError, RecursionError):
        return Verdict.from_json(json.loads(safe_read.read(path, max_bytes=MAX_BYTES)))
    return None


def plottable(value: Any) -> float | None:
    """A number that can be shown on an axis, else None."""
    return float(value) if is_number(value) and abs(value) < MAX_NUMBER else None


def one_line(value: Any) -> str:
    """Printable text on one line; empty for anything but text."""
    return printable(" ".join(value.split())) if isinstance(value, str) else ""


def _read(value: Any, hint: Any) -> Any:
    """The parts of a JSON value that match the type hint."""
    if hint in READERS:
        return READERS[hint](value)
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value if value in args else args[-1]
    if origin is Mapping:
        items = value.items() if isinstance(value, dict) else ()
        read_items = ((one_line(key), _read(item, args[1])) for key, item in items)
        return {key: item for key, item in read_items if item != []}  # an arm without values is left out
    if origin is Sequence:
        return [_read(item, args[0]) for item in _list(value) if _has_shape(item, args[0])]
    if origin is tuple:
        return tuple(_read(item, arg) for item, arg in zip(value, args, strict=True))
    return hint(**{name: _read(value.get(KEYS.get(name, name)), of) for name, of in _field_types(hint).items()})


_field_types = cache(get_type_hints)


def _has_shape(item: Any, hint: Any) -> bool:
    if get_origin(hint) is tuple:
        return isinstance(item, list) and len(item) == len(get_args(hint))
    return isinstance(item, dict) or not is_dataclass(hint)


def _read_scalar(value: Any) -> Value:
    return one_line(value) if isinstance(value, str) else value if isinstance(value, int | float) else None


def _read_table(tree: dict[str, Any]) -> Table:
    """Every row gets as many values as there are columns."""
    columns = [str(_read_scalar(head)) for head in _list(tree.get("columns"))]
    rows = [[_read_scalar(value) for value in _list(row)[: len(columns)]] for row in _list(tree.get("rows"))]
    return Table(one_line(tree.get("title")), columns, [row + [None] * (len(columns) - len(row)) for row in rows])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


READERS: dict[Any, Callable[[Any], Any]] = {
    str: one_line,
    str | None: lambda value: one_line(value) or None,
    Lines: lambda value: value if isinstance(value, str) else "",
    Lines | None: lambda value: value if isinstance(value, str) else None,
    bool: bool,
    int: lambda value: value if type(value) is int else 0,
    int | None: lambda value: value if type(value) is int else None,
    float | None: plottable,
    Value: _read_scalar,
    Table: _read_table,
}
"""Readers of values, by the type of the field."""
