"""`normexp report`: tables, figures and an HTML page from runs and sweeps."""

import argparse
import itertools
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from normexp.commands.metrics import list_metrics
from normexp.commands.parser import Parser, check_output_dir, check_output_file, writing
from normexp.config import ConfigError, printable
from normexp.console import print_labelled
from normexp.metrics import DEFAULT_METRIC
from normexp.report import compare, export, paper, terminal
from normexp.report.aggregate import check_metric
from normexp.report.groups import check_key
from normexp.report.names import read_names
from normexp.report.read import Collection, read
from normexp.report.select import select
from normexp.rundir import atomic

HELP = """\
usage: normexp report DIR... [flags]
  results of runs and sweeps, averaged over seeds, best first; DIR is the folder
  of a run, of a sweep, or of several. Two folders are compared: differences in
  config, and B - A with its confidence interval.

  --metric TAG         the metric to report, by its TensorBoard name (default:
                       test/accuracy); --metric help lists all metrics
  --group-by KEY,KEY   one row per combination of these keys (default: all keys
                       that differ, except the seed)
  --sort KEY           sort rows by a key, name or metric (default)
  --filter KEY=VALUE   only these runs; may be repeated:
                       --filter norm=bn,ln --filter state=completed
  --plot TAG           also plot a metric over the steps in the terminal:
                       --plot val/accuracy

  --csv FILE           one row per run with its config, status and metrics
  --json FILE          groups and runs; FILE - writes to standard output, with
                       no other output there
  --markdown [FILE]    the table as Markdown (default: to standard output)
  --latex [FILE]       the table as LaTeX, for the package booktabs
  --html [FILE]        a page with curves, heat maps and tables for offline
                       reading (default: report.html in DIR)
  --figures DIR        the page's figures as PDF, SVG and PNG at paper size, and
                       the data of each as CSV
  --bold               best value in bold, in Markdown and LaTeX
  --names [NAMES]      BN instead of norm=bn in Markdown, LaTeX and figures;
                       NAMES adds others: 'lr:learning rate,norm=bn:Batch norm'
                       or a yaml file with norm: {bn: Batch norm}"""

PAGE_IN_FOLDER = "\0"
"""The value of --html without a FILE: report.html in the folder. No path has a null character."""

OPTIONAL_VALUES = {"--html": PAGE_IN_FOLDER, "--markdown": "-", "--latex": "-", "--names": ""}
"""Flags that may stand alone, with their values then."""

TABLES = ("csv", "json", "markdown", "latex")
"""Outputs that may go to standard output."""


def main(argv: list[str]) -> int:
    """Print the report and write the files. Raises ConfigError for wrong arguments, before anything is written."""
    options = _parse(argv)
    if options.metric == "help":
        list_metrics(options.folders)
        return 0
    collection = select(read(options.folders), options.filters)
    check_metric(options.metric, collection.runs)
    for key in options.by or []:
        check_key(key, collection.runs)
    options.names = read_names(options.names, collection.runs)
    show_plot = _prepare_plot(options, collection)
    comparison = _compare(options, collection) if len(options.folders) == 2 else None
    quiet = any(getattr(options, name) == "-" for name in TABLES)
    console = Console(highlight=False, emoji=False, quiet=quiet)
    terminal.show(console, collection, metric=options.metric, by=options.by, sort=options.sort)
    if comparison is not None:
        compare.show_comparison(console, comparison, map(printable, options.folders), metric=options.metric)
    show_plot(console)
    console.print()
    _write_tables(options, collection, comparison, console)
    _write_figures(options, collection, console)
    folders = shlex.join(map(str, options.folders))
    if options.html is None:
        print_labelled(console, "page", f"normexp report {folders} --html")
    print_labelled(console, "inspect", f"normexp tensorboard {folders}")
    return 0


def parser() -> Parser:
    parser = Parser("report")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--metric", default=DEFAULT_METRIC)
    parser.add_argument("--group-by", dest="by", type=lambda text: [key for key in text.split(",") if key])
    parser.add_argument("--sort")
    parser.add_argument("--plot")
    parser.add_argument("--filter", action="append", default=[], dest="filters")
    for name in (*TABLES, "html", "names"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--bold", action="store_true")
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options, checked. Raises ConfigError, also for files that can't be created."""
    options = parser().parse(_with_optional_values(argv))
    options.command = shlex.join(argv)
    if options.metric == "help":
        return options
    if not options.folders:
        raise ConfigError("Name the folder of a run or sweep: normexp report runs/NAME. normexp runs lists them.")
    if len(on_stdout := [f"--{name}" for name in TABLES if getattr(options, name) == "-"]) > 1:
        raise ConfigError(f"Only one of {' and '.join(on_stdout)} can write to standard output; name a file.")
    if options.bold and options.markdown is options.latex is None:
        raise ConfigError("--bold needs --markdown or --latex.")
    if options.names is not None and options.markdown is options.latex is options.figures is None:
        raise ConfigError("--names needs --markdown, --latex or --figures.")
    if options.html is not None:
        folder = options.folders[0] if len(options.folders) == 1 else Path()
        options.html = folder / "report.html" if options.html == PAGE_IN_FOLDER else Path(options.html)
    for name, suffix in {"csv": "csv", "json": "json", "html": "html", "markdown": "md", "latex": "tex"}.items():
        file = getattr(options, name)
        if file not in (None, "-"):
            check_output_file(f"--{name}", Path(file), example=f"report.{suffix}")
    if options.figures is not None:
        check_output_dir("--figures", options.figures)
    return options


def _with_optional_values(argv: Sequence[str]) -> list[str]:
    """Give flags of OPTIONAL_VALUES an explicit value if another flag, a folder or nothing follows them."""
    words = []
    for word, following in itertools.zip_longest(argv, argv[1:], fillvalue="--"):
        alone = word in OPTIONAL_VALUES and ((following.startswith("-") and following != "-") or _is_folder(following))
        words.append(f"{word}={OPTIONAL_VALUES[word]}" if alone else word)
    return words


def _is_folder(word: str) -> bool:
    try:
        return Path(word).is_dir()
    except (OSError, ValueError):  # too long for a name, say
        return False


def _compare(options: argparse.Namespace, collection: Collection) -> compare.Comparison:
    kept = {run.directory for run in collection.runs}
    sides = (read([folder]) for folder in options.folders)
    a, b = (replace(side, runs=[run for run in side.runs if run.directory in kept]) for side in sides)
    return compare.compare(a, b, metric=options.metric, by=options.by)


def _prepare_plot(options: argparse.Namespace, collection: Collection) -> Callable[[Console], None]:
    """Read the curves for --plot; returns a function that prints the plot. numpy is imported late."""
    if options.plot is None:
        return lambda console: None
    from normexp.report.terminal_plot import read_plot, show_plot

    plot = read_plot(collection.runs, options.plot, metric=options.metric, by=options.by)
    return partial(show_plot, plot=plot)


def _write_tables(
    options: argparse.Namespace, collection: Collection, comparison: compare.Comparison | None, console: Console
) -> None:
    shared = {"metric": options.metric, "by": options.by, "sort": options.sort or "metric"}
    if options.csv is not None:
        _write(options.csv, export.to_csv(collection, by=options.by), "rows", console)
    if options.json is not None:
        _write(options.json, export.to_json(collection, comparison=comparison, **shared), "numbers", console)
    if options.markdown is options.latex is None:
        return
    tables = paper.paper_tables(collection.runs, names=options.names, bold=options.bold, **shared)
    if options.markdown is not None:
        _write(options.markdown, paper.to_markdown(tables), "table", console)
    if options.latex is not None:
        text = paper.to_latex(tables, command=printable(f"normexp report {options.command}"))
        _write(options.latex, text, "table", console)


def _write_figures(options: argparse.Namespace, collection: Collection, console: Console) -> None:
    """Write the page and the figures. matplotlib is imported late."""
    shared = {"metric": options.metric, "by": options.by}
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
            written = draw.write_figures(options.figures, collection, **shared, display=options.names)
        print_labelled(console, "figures", f"{options.figures} ({len(written)} files)")


def _write(file: str, text: str, label: str, console: Console) -> None:
    if file == "-":
        sys.stdout.write(text)
        return
    with writing(Path(file)):
        atomic.write_bytes(Path(file), text.encode("utf-8", "replace"))
    print_labelled(console, label, file)
