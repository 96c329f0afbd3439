"""`normexp runs [DIR]`: list runs and sweeps with their status."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from normexp.config import ConfigError, show, suggest
from normexp.console import print_line
from normexp.report.listing import KEYS, Line, age, list_folder
from normexp.rundir.safe_read import printable
from normexp.sweeps.manifest import MANIFEST

HELP = """\
usage: normexp runs [DIR]
  the runs and sweeps in DIR (default: runs), newest first: state, age, norm,
  model, data, test accuracy, path; a DIR that is a sweep lists its runs
  (val: the accuracy on the validation set, where there is no test so far)"""

RESUMABLE = re.compile("failed|killed|interrupted|not begun")
"""States of runs that can be resumed."""

MAX_UNREADABLE = 5
"""Messages about unreadable runs. The rest are only counted."""


def main(argv: list[str]) -> int:
    """Print the table. Raises ConfigError if the folder does not exist, and for further arguments."""
    console = Console(highlight=False, emoji=False)
    try:
        folder = _folder(argv)
        lines, left_out = list_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"The folder {show(argv[0] if argv else 'runs')} can't be opened ({error.strerror})."
        ) from error
    if lines:
        _print_table(console, lines)
    else:
        sentence = f"There are no runs in {printable(folder)} yet: normexp train makes one."
        print_line(console, sentence)
    if left_out:
        console.print(f"\n[red]{len(left_out)} can't be read[/]")
        for sentence in left_out[:MAX_UNREADABLE]:
            print_line(console, f"  {sentence}")
        if len(left_out) > MAX_UNREADABLE:
            console.print(f"  and {len(left_out) - MAX_UNREADABLE} more")
    if lines:
        console.print()
        newest_sweep = next((line.path for line in lines if line.runs > 1), folder)
        next_steps = [("results  normexp report", newest_sweep), ("look in  normexp tensorboard", folder)]
        if stopped := next((line.path for line in lines if RESUMABLE.search(line.state)), None):
            sweep = folder if (folder / MANIFEST).exists() else stopped
            next_steps.append(("go on    normexp resume", sweep))
        for command, path in next_steps:
            print_line(console, f"{command} {shlex.quote(printable(path))}")
    return 0


def _folder(argv: list[str]) -> Path:
    flags = [word for word in argv if word.startswith("-")]
    if flags:
        raise ConfigError(
            f"There is no flag {show(flags[0])}.{suggest(flags[0], ['--help'])} normexp runs takes a folder alone."
        )
    if len(argv) > 1:
        raise ConfigError(f"normexp runs takes one folder, not {len(argv)}: {show(' '.join(argv))}.")
    folder = Path(argv[0]) if argv else Path("runs")
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise ConfigError(
            f"The folder {show(folder)} {what}: normexp train makes runs/, or name the folder of your runs."
        )
    return folder


def _print_table(console: Console, lines: list[Line]) -> None:
    """Print one line per run, or two on a terminal that is too narrow: state and path, then the rest.

    Not a rich table, which would wrap the paths and is slow for thousands of rows.
    """
    now = datetime.now(UTC)
    header = ["state", "age", *KEYS, "accuracy"]
    table = [[line.state, age(line.started, now), *(line.cells[key] for key in KEYS), line.accuracy] for line in lines]
    widths = [max(len(row[i]) for row in [header, *table]) for i in range(len(header))]
    path_width = console.width - sum(widths) - 2 * len(widths)
    narrow = console.is_terminal and any(len(printable(line.path)) > path_width for line in lines)
    _print_row(console, header, "path", widths, narrow=narrow, style="bold")
    for line, row in zip(lines, table, strict=True):
        _print_row(console, row, printable(line.path), widths, narrow=narrow, style=line.colour)
        if line.jobs:
            what = "1 Slurm job" if len(line.jobs) == 1 else f"{len(line.jobs)} Slurm jobs"
            ids = dict.fromkeys(job.partition("_")[0] for job in line.jobs)  # an array of jobs has one id
            console.print(Text(f"    {what} open; to end: scancel {shlex.join(ids)}", style="dim"), soft_wrap=True)


def _print_row(
    console: Console, cells: Sequence[str], path: str, widths: Sequence[int], *, narrow: bool, style: str
) -> None:
    """Print a row. The style applies to the state; bold applies to all columns."""
    padded = [cell.ljust(width + 2) for cell, width in zip(cells, widths, strict=True)]
    text = Text(padded[0], style=style)
    plain = style if style == "bold" else "default"
    text.append("".join(["" if narrow else "".join(padded[1:]), path]), style=plain)
    console.print(text, soft_wrap=True)
    if narrow:
        console.print(Text("    " + "".join(padded[1:]).rstrip(), style=plain), soft_wrap=True)
