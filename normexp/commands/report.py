"""`normexp report`: tables, figures and an HTML page from runs and sweeps."""

import argparse
import itertools
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from normexp.commands.metrics import list_metrics
from normexp.commands.parser import Parser, check_output_dir, check_output_file, writing
from normexp.config import ConfigError, printable
from normexp.console import print_labelled
from normexp.metrics import DEFAULT_METRIC
from normexp.report import compare, compare_text, export, paper, terminal
from normexp.report.aggregate import aggregate, check_metric
from normexp.report.columns import widen
from normexp.report.compare_text import ComparisonText
from normexp.report.evaluations import show_evaluations
from normexp.report.groups import group
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

  --csv FILE           one row per run with its config, status, metrics and
                       evaluations
  --json FILE          groups and runs; FILE - writes to standard output, with
                       no other output there
  --markdown [FILE]    the table as Markdown (default: to standard output)
  --latex [FILE]       the table as LaTeX, for the package booktabs
  --html [FILE]        a page with curves, heat maps and tables for offline
                       reading (default: report.html in DIR)
  --figures DIR        the page's figures as PDF, SVG and PNG at paper size, and
                       the data of each as CSV
  --columns KEY        a column for each value of a key, in Markdown and LaTeX:
                       --columns lr; --columns data: all data sets in one table
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
    shared = {"metric": options.metric, "by": options.by}
    check_metric(options.metric, collection.runs)
    aggregate(group(collection.runs, options.by), options.metric, sort=options.sort)  # checks the keys
    options.names = read_names(options.names, collection.runs)
    plots = []
    if options.plot is not None:
        from normexp.report.terminal_plot import read_plots  # imports numpy

        plots = read_plots(collection.runs, options.plot, **shared)
    comparison = text = None
    if len(options.folders) == 2:
        kept = {run.directory for run in collection.runs}
        a, b = ([run for run in read([folder]).runs if run.directory in kept] for folder in options.folders)
        comparison = compare.compare(a, b, **shared)
        text = compare_text.describe(comparison, map(printable, options.folders), metric=options.metric)
    tables = _tables(options, collection, comparison)
    console = Console(highlight=False, emoji=False, quiet="-" in tables)
    widen(console)
    hint = partial(print_labelled, console, width=13)
    command = _command(options)
    if tables:
        terminal.show_problems(console, collection)
    else:
        terminal.show(console, collection, **shared, sort=options.sort, command=command)
        if text is not None:
            compare_text.show_comparison(console, text)
        show_evaluations(console, collection.runs)
    for plot in plots:
        plot.show(console)
    if not tables:
        console.print()
    for file, (label, content) in tables.items():
        if file == "-":
            sys.stdout.write(content)
            continue
        with writing(Path(file)):
            atomic.write_bytes(Path(file), content.encode("utf-8", "replace"))
        hint(label, file)
    _write_figures(options, collection, text, hint)
    if not tables:
        if options.html is None:
            hint("page", f"{command} --html")
        hint("look inside", f"normexp tensorboard {shlex.join(map(str, options.folders))}")
    return 0


def _command(options: argparse.Namespace) -> str:
    """The command of this report, without the flags that write files."""
    words = ["normexp", "report", *map(str, options.folders)]
    for filtered in options.filters:
        words += ["--filter", filtered]
    given = {"--metric": options.metric, "--group-by": options.by and ",".join(options.by), "--sort": options.sort}
    for flag, value in given.items():
        words += [flag, value] if value not in (None, DEFAULT_METRIC, "metric") else []
    return printable(shlex.join(words))


def parser() -> Parser:
    parser = Parser("report")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--metric", default=DEFAULT_METRIC)
    parser.add_argument("--group-by", dest="by", type=lambda text: [key for key in text.split(",") if key])
    parser.add_argument("--sort", default="metric")
    parser.add_argument("--filter", action="append", default=[], dest="filters")
    for name in (*TABLES, "columns", "html", "names", "plot"):
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
    for flag in ("bold", "columns"):
        if getattr(options, flag) and options.markdown is options.latex is None:
            raise ConfigError(f"--{flag} needs --markdown or --latex.")
    if options.names is not None and options.markdown is options.latex is options.figures is None:
        raise ConfigError("--names needs --markdown, --latex or --figures.")
    if options.html is not None:
        folder = options.folders[0] if len(options.folders) == 1 else Path()
        options.html = folder / "report.html" if options.html == PAGE_IN_FOLDER else Path(options.html)
    written: dict[Path, str] = {}
    for name, suffix in {"csv": "csv", "json": "json", "html": "html", "markdown": "md", "latex": "tex"}.items():
        file = getattr(options, name)
        if file not in (None, "-"):
            check_output_file(f"--{name}", Path(file), example=f"report.{suffix}")
            if (other := written.setdefault(Path(file), name)) != name:
                raise ConfigError(f"--{other} and --{name} can't write the same file; name another for one of them.")
    if options.figures is not None:
        check_output_dir("--figures", options.figures)
    return options


def _with_optional_values(argv: Sequence[str]) -> list[str]:
    """Give flags of OPTIONAL_VALUES an explicit value if another flag, a folder with runs or nothing follows them."""
    words = []
    for word, following in itertools.zip_longest(argv, argv[1:], fillvalue="--"):
        alone = (following.startswith("-") and following != "-") or _has_runs(following)
        if alone and word in ("--csv", "--json"):
            raise ConfigError(f"{word} needs a file: {word} runs.{word[2:]}, or {word} - for standard output.")
        words.append(f"{word}={OPTIONAL_VALUES[word]}" if alone and word in OPTIONAL_VALUES else word)
    return words


def _has_runs(word: str) -> bool:
    """Whether a word is a folder with runs: two levels below it, as in runs/SWEEP/RUN."""
    is_folder = os.path.isdir(word)  # noqa: PTH112 - never raises
    return is_folder and any(any(Path(word).glob(f"{below}status.json")) for below in ("", "*/", "*/*/"))


def _tables(
    options: argparse.Namespace, collection: Collection, comparison: compare.Comparison | None
) -> dict[str, tuple[str, str]]:
    """Label and content of the tables to write, by file."""
    shared = {"metric": options.metric, "by": options.by, "sort": options.sort}
    files = {}
    if options.csv is not None:
        files[options.csv] = "rows", export.to_csv(collection, by=options.by)
    if options.json is not None:
        files[options.json] = "numbers", export.to_json(collection, comparison=comparison, **shared)
    if options.markdown is options.latex is None:
        return files
    tables = paper.paper_tables(collection.runs, options.columns, **shared, names=options.names, bold=options.bold)
    if options.markdown is not None:
        files[options.markdown] = "table", paper.to_markdown(tables)
    if options.latex is not None:
        files[options.latex] = "table", paper.to_latex(tables, command=printable(f"normexp report {options.command}"))
    return files


def _write_figures(
    options: argparse.Namespace, collection: Collection, compared: ComparisonText | None, hint: Callable[..., None]
) -> None:
    """Write the page and the figures. matplotlib is imported late."""
    shared = {"metric": options.metric, "by": options.by}
    if options.html is not None:
        from normexp.report import page

        title = printable(" and ".join(folder.resolve().name for folder in options.folders))
        with writing(options.html):
            notes = page.write_page(options.html, collection, title=title, compared=compared, **shared)
        for note in notes:
            hint("note", note)
        hint("page", options.html)
    if options.figures is not None:
        from normexp.report.figures import draw

        with writing(options.figures):
            options.figures.mkdir(exist_ok=True)
            written = draw.write_figures(options.figures, collection, **shared, display=options.names)
        hint("figures", f"{options.figures} ({len(written)} files)")
