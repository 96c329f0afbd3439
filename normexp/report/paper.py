"""The table of a report for a paper, as LaTeX (booktabs) or Markdown: one for each task."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from normexp.config import ConfigError, show, suggest
from normexp.metrics import has_direction, higher_is_better, is_fraction, metric_heading
from normexp.report.aggregate import Row, aggregate_task, describe_outcome, format_mean_std
from normexp.report.groups import Task, differing, distinct_values, group, hashable, sort_key, split_tasks
from normexp.report.names import Names
from normexp.report.read import Run

LATEX_ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}

NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(?:e([+-]?\d+))?")


@dataclass(frozen=True)
class PaperTable:
    """Cells as plain text. bold: row and column of the best values. over: a head over the last `columns` columns, or empty."""

    caption: str
    heads: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    bold: set[tuple[int, int]]
    over: str = ""
    columns: int = 0


def paper_tables(
    runs: Sequence[Run],
    columns: str | None,
    *,
    metric: str,
    by: Sequence[str] | None,
    sort: str,
    names: Names,
    bold: bool,
) -> list[PaperTable]:
    """A table for each task, with the rows of the terminal's. bold: whether to mark the best mean. columns: a key that gets a
    column for each of its values; `data` brings all data sets into one table. Raises ConfigError if the runs don't differ in
    it."""
    if columns is not None and columns not in (known := group(runs, by).keys):
        usable = f"columns can be {', '.join(known)}." if known else "the runs differ in no key."
        raise ConfigError(f"--columns {show(columns)}: {usable}{suggest(columns, known)}")
    shared: dict[str, Any] = {"metric": metric, "names": names, "bold": bold}
    tasks = split_tasks(runs, by) if columns != "data" else [Task("", list(runs), None if by is None else list(by))]
    tables = []
    for task in tasks:
        keys, rows = aggregate_task(task, metric, sort)
        if rows and columns is not None:
            tables.append(_wide_table(task, keys, rows, across=columns, **shared))
        elif rows:
            tables.append(_table(task, keys, rows, **shared))
    return tables


def _caption(task: Task, keys: Sequence[str], rows: Sequence[Row], n: str, *, metric: str, names: Names) -> str:
    """Names the metric, the data set, the model if tasks differ in it, the ± and the number of runs, n: '3' or '2 to 3'."""
    title = names.key(metric, metric_heading(metric)) + " (%)" * is_fraction(metric)
    data = distinct_values("data", task.runs)
    title += f" on {names.value('data', data[0])}" if len(data) == 1 else ""
    title += f" with {names.pair('model', task.runs[0].config['model'])}" if "model=" in task.label else ""
    if all(row.n < 2 for row in rows):
        return f"{title}{': one run each' * (n == '1')}."
    merged = [key for key in differing([run for run in task.runs if run.state != "skipped"]) if key not in keys]
    which = f", which differ in {', '.join(merged)}" if merged else ""
    return f"{title}: mean ± standard deviation over {n} runs{which}."


def _table(
    task: Task, keys: Sequence[str], rows: Sequence[Row], *, metric: str, names: Names, bold: bool
) -> PaperTable:
    n = _run_counts(rows)
    differ = " to " in n
    caption = _caption(task, keys, rows, "n" if differ else n, metric=metric, names=names)
    configs = [row.group.runs[0].config for row in rows]
    keys = keys or [key for key in ("norm", "model", "data") if key in configs[0]]
    heads = [*map(names.key, keys), names.axis(metric), *["n"] * differ]
    numeric = [all(isinstance(config.get(key), int | float | None) for config in configs) for key in keys]
    cells = [[names.value(key, config.get(key)) for key in keys] for config in configs]
    for row, own in zip(rows, cells, strict=True):
        own += [format_mean_std(row, metric).replace(" %", ""), *[str(row.n)] * differ]
    outcomes = [describe_outcome(row, metric) for row in rows]
    if any(outcomes):
        heads.append("")
        cells = [[*own, outcome] for own, outcome in zip(cells, outcomes, strict=True)]
    best = {(i, len(keys)) for i in _best(rows, metric)} if bold else set()
    return PaperTable(caption, heads, [*numeric, True, *[True] * differ, False][: len(heads)], cells, best)


def _wide_table(
    task: Task, keys: Sequence[str], rows: Sequence[Row], *, across: str, metric: str, names: Names, bold: bool
) -> PaperTable:
    """A table with a column for each value of `across`. The best of each column is bold."""
    down = [key for key in keys if key != across] or [key for key in ("norm", "model") if key != across]
    members = {
        (tuple(hashable(config.get(key)) for key in down), hashable(config.get(across))): row
        for row in rows
        for config in [row.group.runs[0].config]
    }
    lines = sorted({line for line, _ in members}, key=lambda line: list(map(sort_key, down, line)))
    values = sorted({value for _, value in members}, key=partial(sort_key, across))
    cells = [[names.value(key, value) for key, value in zip(down, line, strict=True)] for line in lines]
    best = set()
    for j, value in enumerate(values, len(down)):
        column = [members.get((line, value)) for line in lines]
        best |= {(i, j) for i in _best(column, metric)} if bold else set()
        for own, row in zip(cells, column, strict=True):
            own.append(_mark_incomplete(row, metric))
    caption = _caption(task, keys, rows, _run_counts(rows), metric=metric, names=names)
    if any(cell.endswith("*") for own in cells for cell in own):
        caption += " *: over the completed runs only."
    name = names.value if across == "data" else names.pair
    heads = [*map(names.key, down), *(name(across, value) for value in values)]
    numeric = [all(isinstance(line[i], int | float | None) for line in lines) for i in range(len(down))]
    over = names.axis(metric)
    return PaperTable(caption, heads, numeric + [True] * len(values), cells, best, over, len(values))


def _run_counts(rows: Sequence[Row]) -> str:
    """The number of averaged runs, '3' or '2 to 3'; empty without any."""
    counts = sorted({row.n for row in rows if row.n})
    return " to ".join(map(str, dict.fromkeys((*counts[:1], *counts[-1:]))))


def _mark_incomplete(row: Row | None, metric: str) -> str:
    """A cell: the mean, with an asterisk if runs are missing in it; `diverged` or `-` without a mean."""
    if row is None or row.mean is None:
        return "diverged" if row and row.states.get("diverged") else "-"
    return format_mean_std(row, metric).replace(" %", "") + "*" * bool(describe_outcome(row, metric))


def _best(rows: Sequence[Row | None], metric: str) -> set[int]:
    """Indices of the rows with the best mean, and of those that can't be told from it as printed."""
    means = {i: row.mean for i, row in enumerate(rows) if row and row.mean is not None}
    if not means or not has_direction(metric):
        return set()
    printed = {i: format_mean_std(row, metric).partition(" ")[0] for i, row in enumerate(rows) if row}
    best = (max if higher_is_better(metric) else min)(means, key=lambda i: means[i])
    return {i for i in means if printed[i] == printed[best]}


def to_markdown(tables: Sequence[PaperTable]) -> str:
    """The tables as GitHub-flavored Markdown, with aligned columns."""
    blocks: list[str] = []
    for table in tables:
        rows = [list(map(_markdown, row)) for row in (table.heads, *table.rows)]
        for i, j in table.bold:
            rows[1 + i][j] = f"**{rows[1 + i][j]}**"
        widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
        rules = ["-" * (width - right) + ":" * right for width, right in zip(widths, table.numeric, strict=True)]
        lines = []
        for row in (rows[0], rules, *rows[1:]):
            columns = zip(row, widths, table.numeric, strict=True)
            cells = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in columns]
            lines.append(f"| {' | '.join(cells)} |")
        blocks += [_markdown(table.caption), "\n".join(lines)]
    return "\n\n".join(blocks) + "\n"


def to_latex(tables: Sequence[PaperTable], *, command: str) -> str:
    """The tables as LaTeX floats with captions, which need the package booktabs. command: noted in a comment."""
    lines = [f"% {command}", r"% \usepackage{booktabs}"]
    for table in tables:
        rows = [list(map(_latex, row)) for row in table.rows]
        for i, j in table.bold:
            rows[i][j] = re.sub(r"\$(.*)\$", r"$\\mathbf{\1}$", rows[i][j])
        alignment = "".join("r" if right else "l" for right in table.numeric)
        lines += ["", r"\begin{table}", r"\centering", rf"\caption{{{_latex(table.caption)}}}"]
        lines += [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
        if table.over:
            first, last = len(table.heads) - table.columns + 1, len(table.heads)
            over = rf"\multicolumn{{{table.columns}}}{{c}}{{{_latex(table.over)}}}"
            lines += [rf"{'& ' * (first - 1)}{over} \\", rf"\cmidrule(lr){{{first}-{last}}}"]
        lines += [f"{' & '.join(map(_latex, table.heads))} \\\\", r"\midrule"]
        lines += [f"{' & '.join(row)} \\\\" for row in rows]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _markdown(cell: str) -> str:
    return re.sub(r"([\\|*`<])", r"\\\1", cell)


def _latex(cell: str) -> str:
    """A cell in LaTeX: numbers, and means with their deviation, in math mode."""
    if cell == "-":
        return "--"
    if cell.endswith("*") and len(cell) > 1:
        return f"{_latex(cell[:-1])}*"
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
