"""`normexp runs [DIR]`: list runs and sweeps with their status."""

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from normexp.config import ConfigError, printable, show, suggest
from normexp.console import print_line
from normexp.report.listing import KEYS, Line, age, list_folder
from normexp.report.terminal import print_some
from normexp.sweeps.manifest import MANIFEST

HELP = """\
usage: normexp runs [DIR]
  the runs and sweeps in DIR (default: runs), newest first: state, age, norm,
  model, data, test accuracy, path; a DIR that is a sweep lists its runs
  (val: the accuracy on the validation set, where there is no test so far)"""

RESUMABLE = re.compile("failed|killed|interrupted|not begun")
"""States of runs that can be resumed."""


def main(argv: list[str]) -> int:
    """Print the table. Raises ConfigError if the folder does not exist, and for further arguments."""
    console = Console(highlight=False, emoji=False)
    try:
        folder = _folder(argv)
        lines, left_out = list_folder(folder)
    except OSError as error:
        name = show(argv[0] if argv else "runs")
        raise ConfigError(f"The folder {name} can't be opened ({error.strerror}).") from error
    if lines:
        _print_table(console, lines)
    else:
        print_line(console, f"There are no runs in {printable(folder)} yet: normexp train makes one.")
    if left_out:
        print_some(console, f"[red]{len(left_out)} can't be read[/]", left_out)
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
    if flag := next((word for word in argv if word.startswith("-")), None):
        near = suggest(flag, ["--help"])
        raise ConfigError(f"There is no flag {show(flag)}.{near} normexp runs takes a folder alone.")
    if len(argv) > 1:
        raise ConfigError(f"normexp runs takes one folder, not {len(argv)}: {show(' '.join(argv))}.")
    folder = Path(argv[0]) if argv else Path("runs")
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        advice = "normexp train makes runs/, or name the folder of your runs."
        raise ConfigError(f"The folder {show(folder)} {what}: {advice}")
    return folder


def _print_table(console: Console, lines: list[Line]) -> None:
    """Print one line per run, or two on a terminal that is too narrow: state and path, then the rest.

    Not a rich table, which would wrap the paths and is slow for thousands of rows.
    """
    now = datetime.now(UTC)
    header = ["state", "age", *KEYS, "accuracy"]
    table = [[line.state, age(line.started, now), *line.cells, line.accuracy] for line in lines]
    widths = [max(map(len, column)) + 2 for column in zip(header, *table, strict=True)]
    paths = [printable(line.path) for line in lines]
    narrow = console.is_terminal and max(map(len, paths)) > console.width - sum(widths)

    def print_row(cells: Sequence[str], path: str, state_style: str, style: str) -> None:
        state, *others = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        text = Text(state, style=state_style)
        text.append(path if narrow else "".join([*others, path]), style=style)
        console.print(text, soft_wrap=True)
        if narrow:
            console.print(Text("    " + "".join(others).rstrip(), style=style), soft_wrap=True)

    print_row(header, "path", "bold", "bold")
    for line, cells, path in zip(lines, table, paths, strict=True):
        print_row(cells, path, line.colour, "default")
        if line.jobs:
            what = "1 Slurm job" if len(line.jobs) == 1 else f"{len(line.jobs)} Slurm jobs"
            ids = dict.fromkeys(job.partition("_")[0] for job in line.jobs)  # an array of jobs has one id
            console.print(Text(f"    {what} open; to end: scancel {shlex.join(ids)}", style="dim"), soft_wrap=True)
