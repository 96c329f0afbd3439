"""`normexp runs [DIR]`: list runs and sweeps with their status."""

import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from normexp.commands.parser import Parser
from normexp.config import ConfigError, printable, show, suggest_folder
from normexp.console import print_line, print_some
from normexp.report.listing import KEYS, Line, age, filter_lines, list_folder, sort_lines, to_json
from normexp.sweeps.manifest import MANIFEST

HELP = """\
usage: normexp runs [DIR] [flags]
  list the runs and sweeps in DIR (default: runs), newest first, with state,
  age, norm, model, data and test accuracy (val: validation accuracy, until a
  run is tested; best val: of the sweep's run with the best validation
  accuracy); if DIR is a sweep, list its runs

  --sort KEY          sort by age (default), state, accuracy, path, or a config
                      key such as norm or lr
  --filter KEY=VALUE  only runs that match, also within sweeps; may be
                      repeated: --filter norm=bn,ln --filter state=failed
  --json              print JSON for other programs"""

RESUMABLE = re.compile("failed|killed|interrupted|not started")
"""States of runs that can be resumed."""


def main(argv: list[str]) -> int:
    """Print the table. Raises ConfigError if the folder does not exist, and for wrong arguments."""
    options = parser().parse(argv)
    if len(options.folders) > 1:
        several = show(" ".join(map(str, options.folders)))
        raise ConfigError(f"normexp runs takes one folder, not {len(options.folders)}: {several}.")
    folder = options.folders[0] if options.folders else Path("runs")
    try:
        if not folder.is_dir():
            problem = "is not a folder" if folder.exists() else "does not exist"
            hint = suggest_folder(folder) or " Name the folder of your runs; normexp train creates runs/ by default."
            raise ConfigError(f"{show(folder)} {problem}.{hint}")
        lines, left_out = list_folder(folder)
    except OSError as error:
        raise ConfigError(f"{show(folder)} can't be opened ({error.strerror}).") from error
    lines = sort_lines(filter_lines(lines, options.filters), options.sort)
    if options.json:
        sys.stdout.write(to_json(lines, left_out))
        return 0
    console = Console(highlight=False, emoji=False)
    if lines:
        _print_table(console, lines)
    else:
        print_line(console, f"No runs in {printable(folder)} yet; normexp train creates one.")
    if left_out:
        print_some(console, f"[red]{len(left_out)} unreadable[/]", left_out)
    if lines:
        _print_next_steps(console, lines, folder)
    return 0


def parser() -> Parser:
    parser = Parser("runs")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--sort", default="age")
    parser.add_argument("--filter", action="append", default=[], dest="filters")
    parser.add_argument("--json", action="store_true")
    return parser


def _print_next_steps(console: Console, lines: Sequence[Line], folder: Path) -> None:
    """Print the commands that make sense next."""
    newest_sweep = next((line.path for line in lines if len(line.runs) > 1), folder)
    next_steps = [("report       normexp report", newest_sweep), ("look inside  normexp tensorboard", folder)]
    if stopped := next((line.path for line in lines if RESUMABLE.search(line.state)), None):
        sweep = folder if (folder / MANIFEST).exists() else stopped
        next_steps.append(("resume       normexp resume", sweep))
    console.print()
    for command, path in next_steps:
        print_line(console, f"{command} {shlex.quote(printable(path))}")


def _print_table(console: Console, lines: list[Line]) -> None:
    """Print one line per run, or two on a terminal that is too narrow: state and path, then the rest.

    Not a rich table, which would wrap the paths and is slow for thousands of rows.
    """
    now = datetime.now(UTC)
    header = ["state", "age", *KEYS, "test accuracy"]
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
        print_row(cells, path, line.color, "default")
        if line.jobs:
            count = "1 Slurm job" if len(line.jobs) == 1 else f"{len(line.jobs)} Slurm jobs"
            ids = dict.fromkeys(job.partition("_")[0] for job in line.jobs)  # a job array has one id
            text = f"    {count} pending or running; to cancel: scancel {shlex.join(ids)}"
            console.print(Text(text, style="dim"), soft_wrap=True)
