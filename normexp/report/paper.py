"""The table of a report for a paper, as LaTeX (booktabs) or Markdown: one for each task."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from normexp.metrics import format_metric, higher_is_better, is_fraction, metric_heading
from normexp.report.aggregate import Row, aggregate, describe_outcome, format_mean_std
from normexp.report.groups import differing, group, split_tasks
from normexp.report.names import PLAIN, Names
from normexp.report.read import Run

LATEX_ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}

NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(?:e([+-]?\d+))?")


@dataclass(frozen=True)
class PaperTable:
    """Cells as plain text. title: the task, empty if there is only one. note: empty, or on the ±. best: rows whose metric, in
    column `metric`, is set in bold.
    """

    title: str
    heads: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    metric: int
    best: frozenset[int]
    note: str = ""


def paper_tables(
    runs: Sequence[Run], *, metric: str, by: Sequence[str] | None, sort: str, names: Names = PLAIN, bold: bool = False
) -> list[PaperTable]:
    """A table for each task, with the rows of the terminal's. bold: whether to mark the best mean."""
    tables = []
    for task in split_tasks(runs, by):
        grouping = group(task.runs, task.by)
        rows = aggregate(grouping, metric, sort=sort if sort in ("name", *grouping.keys) else "metric")
        if rows:
            table = _table(task.label, grouping.keys, rows, metric=metric, names=names, bold=bold)
            tables.append(replace(table, note=_note(rows, task.runs, grouping.keys)))
    return tables


def _note(rows: Sequence[Row], runs: Sequence[Run], keys: Sequence[str]) -> str:
    """Sentence on the ±, and on keys that are averaged over. Empty if each row has one run."""
    if all(row.n < 2 for row in rows):
        return ""
    merged = [key for key in differing([run for run in runs if run.state != "skipped"]) if key not in keys]
    return f"±: standard deviation over n runs{', which differ in ' if merged else ''}{', '.join(merged)}."


def _table(
    title: str, keys: Sequence[str], rows: Sequence[Row], *, metric: str, names: Names, bold: bool
) -> PaperTable:
    configs = [row.group.runs[0].config for row in rows]
    keys = keys or [key for key in ("norm", "model", "data") if key in configs[0]]
    unit = " (%)" if is_fraction(metric) else ""
    heads = [*map(names.key, keys), f"{names.keys.get(metric, metric_heading(metric))}{unit}", "n"]
    numeric = [all(isinstance(config.get(key), int | float | None) for config in configs) for key in keys]
    cells = [[names.value(key, config.get(key)) for key in keys] for config in configs]
    for row, own in zip(rows, cells, strict=True):
        own += [format_mean_std(row, metric).replace(" %", ""), str(row.n)]
    outcomes = [describe_outcome(row, metric) for row in rows]
    if any(outcomes):
        heads.append("")
        cells = [[*own, outcome] for own, outcome in zip(cells, outcomes, strict=True)]
    numeric = [*numeric, True, True, False][: len(heads)]
    return PaperTable(title, heads, numeric, cells, len(keys), _best(rows, metric) if bold else frozenset())


def _best(rows: Sequence[Row], metric: str) -> frozenset[int]:
    """Indices of the rows with the best mean, and of those that can't be told from it as printed."""
    means = [row.mean for row in rows if row.mean is not None]
    if not means:
        return frozenset()
    best = format_metric(max(means) if higher_is_better(metric) else min(means), metric)
    return frozenset(i for i, row in enumerate(rows) if format_metric(row.mean, metric) == best)


def to_markdown(tables: Sequence[PaperTable]) -> str:
    """The tables as GitHub-flavored Markdown, with aligned columns."""
    blocks: list[str] = []
    for table in tables:
        rows = [list(map(_markdown, row)) for row in (table.heads, *table.rows)]
        for i in table.best:
            rows[1 + i][table.metric] = f"**{rows[1 + i][table.metric]}**"
        widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
        rows.insert(
            1, ["-" * (width - right) + ":" * right for width, right in zip(widths, table.numeric, strict=True)]
        )
        lines = []
        for row in rows:
            columns = zip(row, widths, table.numeric, strict=True)
            cells = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in columns]
            lines.append(f"| {' | '.join(cells)} |")
        title = f"**{_markdown(table.title)}**" if table.title else ""
        blocks += filter(None, [title, "\n".join(lines), _markdown(table.note)])
    return "\n\n".join(blocks) + "\n"


def to_latex(tables: Sequence[PaperTable], *, command: str) -> str:
    """The tables as LaTeX tabulars, which need the package booktabs. command: noted in a comment."""
    lines = [f"% {command}", r"% \usepackage{booktabs}"]
    for table in tables:
        rows = [list(map(_latex, row)) for row in table.rows]
        for i in table.best:
            rows[i][table.metric] = rf"$\mathbf{{{rows[i][table.metric].strip('$')}}}$"
        lines += [f"% {comment}" for comment in (table.title, table.note.replace("±", r"\pm")) if comment]
        lines.append(rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in table.numeric)}}}")
        lines += [r"\toprule", f"{' & '.join(map(_latex, table.heads))} \\\\", r"\midrule"]
        lines += [f"{' & '.join(row)} \\\\" for row in rows]
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _markdown(cell: str) -> str:
    return re.sub(r"([\\|*`<])", r"\\\1", cell)


def _latex(cell: str) -> str:
    """A cell in LaTeX: numbers, and means with their deviation, in math mode."""
    if cell == "-":
        return "--"
    parts = [NUMBER.fullmatch(part) for part in cell.split(" ± ")]
    if all(parts):
        number = r" \pm ".join(_power(part) for part in parts if part)
        return f"${number}$"
    return "".join(LATEX_ESCAPES.get(character, character) for character in cell)


def _power(number: re.Match[str]) -> str:
    """'3 \\cdot 10^{-5}' for 3e-05."""
    digits, exponent = number.groups()
    if exponent is None:
        return digits
    power = f"10^{{{int(exponent)}}}"
    return power if digits == "1" else rf"{digits} \cdot {power}"
