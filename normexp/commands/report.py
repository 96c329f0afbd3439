"""`normexp report`: tables, figures and an HTML page from runs and sweeps."""

import argparse
import itertools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from normexp.commands.parser import Parser, check_output_dir, check_output_file, writing
from normexp.config import ConfigError, printable
from normexp.console import print_labelled
from normexp.metrics import DEFAULT_METRIC
from normexp.report import compare, export, terminal
from normexp.report.aggregate import check_metric
from normexp.report.groups import check_key
from normexp.report.read import read
from normexp.report.select import select
from normexp.rundir import atomic

HELP = """\
usage: normexp report DIR... [flags]
  results of runs and sweeps, averaged over seeds, best first; DIR is the folder
  of a run, of a sweep, or of several. Two folders are compared: what differs in
  config, and B - A with its confidence interval.

  --metric TAG         the final value that counts, by TensorBoard's name
                       (default: test/accuracy; also convergence/steps_to_90)
  --group-by KEY,KEY   a row for each combination of values of these keys
                       (default: all keys that differ, but for the seed)
  --sort KEY           rows by a key, by name or by metric (default)
  --filter KEY=VALUE   these runs alone; may be given several times:
                       --filter norm=bn,ln --filter state=completed
  --csv FILE           a row for each run, with all that differs and all values
  --json FILE          groups and runs; FILE - is standard output, and nothing
                       else is printed there
  --html [FILE]        one page with curves, heat maps and tables, to be
                       read offline (default: report.html in DIR)
  --figures DIR        the figures of that page as PNG and SVG in the size that
                       papers take, and the data of each as CSV"""

DEFAULT_FILE = "\0"
"""The value of --html without a FILE: report.html in the folder. No path has a null character."""


def main(argv: list[str]) -> int:
    """Print the report and write the files. Raises ConfigError for wrong arguments, before anything is written."""
    options = _parse(argv)
    collection = select(read(options.folders), options.filters)
    check_metric(options.metric, collection.runs)
    for key in options.by or []:
        check_key(key, collection.runs)
    shared = {"metric": options.metric, "by": options.by}
    comparison = None
    if len(options.folders) == 2:
        kept = {run.directory for run in collection.runs}
        sides = (read([folder]) for folder in options.folders)
        a, b = (replace(side, runs=[run for run in side.runs if run.directory in kept]) for side in sides)
        comparison = compare.compare(a, b, **shared)
    console = Console(highlight=False, emoji=False, quiet="-" in (options.csv, options.json))
    terminal.show(console, collection, sort=options.sort, **shared)
    if comparison is not None:
        compare.show_comparison(console, comparison, map(printable, options.folders), metric=options.metric)
    console.print()
    if options.csv is not None:
        _write(options.csv, export.to_csv(collection, by=options.by), "rows", console)
    if options.json is not None:
        text = export.to_json(collection, sort=options.sort or "metric", comparison=comparison, **shared)
        _write(options.json, text, "numbers", console)
    if options.html is not None:
        from normexp.report import page

        title = printable(" and ".join(folder.resolve().name for folder in options.folders))
        with writing(options.html):
            notes = page.write_page(options.html, collection, title=title, **shared)
        for note in notes:
            print_labelled(console, "note", note)
        print_labelled(console, "page", options.html)
    if options.figures is not None:
        from normexp.report.figures import draw

        with writing(options.figures):
            options.figures.mkdir(exist_ok=True)
            written = draw.write_figures(options.figures, collection, **shared)
        print_labelled(console, "figures", f"{options.figures} ({len(written)} files)")
    folders = shlex.join(map(str, options.folders))
    if options.html is None:
        print_labelled(console, "page", f"normexp report {folders} --html")
    if len(options.folders) == 1:
        print_labelled(console, "look in", f"normexp tensorboard {folders}")
    return 0


def parser() -> Parser:
    parser = Parser("report")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--metric", default=DEFAULT_METRIC)
    parser.add_argument("--group-by", dest="by", type=lambda text: [key for key in text.split(",") if key])
    parser.add_argument("--sort")
    parser.add_argument("--filter", action="append", default=[], dest="filters")
    for flag in ("--csv", "--json", "--html"):
        parser.add_argument(flag)
    parser.add_argument("--figures", type=Path)
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options, checked. Raises ConfigError, also for files that can't be created."""
    options = parser().parse(_with_default_file(argv))
    if not options.folders:
        raise ConfigError("Name the folder of a run or of a sweep: normexp report runs/NAME. normexp runs lists them.")
    if options.csv == options.json == "-":
        raise ConfigError("--csv - and --json - don't go together: only one of them can be the standard output.")
    if options.html is not None:
        folder = options.folders[0] if len(options.folders) == 1 else Path()
        options.html = folder / "report.html" if options.html == DEFAULT_FILE else Path(options.html)
    for name in ("csv", "json", "html"):
        file = getattr(options, name)
        if file not in (None, "-"):
            check_output_file(f"--{name}", Path(file), example=f"report.{name}")
    if options.figures is not None:
        check_output_dir("--figures", options.figures)
    return options


def _with_default_file(argv: Sequence[str]) -> list[str]:
    """Give --html an explicit value if a flag, a folder or nothing follows it."""
    words = []
    for word, following in itertools.zip_longest(argv, argv[1:], fillvalue="--"):
        alone = word == "--html" and (following.startswith("-") or Path(following).is_dir())
        words.append(f"--html={DEFAULT_FILE}" if alone else word)
    return words


def _write(file: str, text: str, label: str, console: Console) -> None:
    if file == "-":
        sys.stdout.write(text)
        return
    with writing(Path(file)):
        atomic.write_bytes(Path(file), text.encode("utf-8", "replace"))
    print_labelled(console, label, file)
