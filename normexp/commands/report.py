"""`normexp report DIR...`: tables, figures and a page from runs and sweeps."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from normexp.config import ConfigError, nearest, show
from normexp.report import compare, export, terminal
from normexp.report.aggregate import DEFAULT_METRIC, check_metric
from normexp.report.groups import check_key
from normexp.report.read import Collection, read
from normexp.report.select import select
from normexp.rundir import atomic
from normexp.rundir.safe_read import printable

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

FLAGS = ("--metric", "--group-by", "--sort", "--filter", "--csv", "--json", "--html", "--figures", "--help")

FILE_OF_DIR = "\0"
"""What --html stands for without a FILE."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flag = message.removeprefix("argument ").partition(":")[0]
        if message.endswith("expected one argument"):
            raise ConfigError(f"{flag} must be followed by a value; normexp report --help says which.")
        word = message.rpartition(": ")[2].split()[0]
        raise ConfigError(f"There is no flag {show(word)}.{nearest(word, FLAGS)} normexp report --help lists them.")


def main(argv: list[str]) -> int:
    """Print the report and write what was asked for. Raises ConfigError for what a user can mend, with nothing written."""
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    options = _parse(argv)
    collection, sides = _read(options)
    check_metric(options.metric, collection.runs)
    for key in options.by or []:
        check_key(key, collection.runs)
    comparison = compare.compare(*sides, metric=options.metric, by=options.by) if sides else None
    shared = {"metric": options.metric, "by": options.by}
    quiet = "-" in (options.csv, options.json)
    console = Console(highlight=False, emoji=False, quiet=quiet)
    terminal.show(console, collection, sort=options.sort, **shared)
    if comparison is not None:
        names = (printable(options.folders[0]), printable(options.folders[1]))
        compare.show_comparison(console, comparison, names, metric=options.metric)
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
            notes = page.write(options.html, collection, title=title, **shared)
        for note in notes:
            _line(console, "note", note)
        _line(console, "page", options.html)
    if options.figures is not None:
        from normexp.report.figures import draw

        with writing(options.figures):
            options.figures.mkdir(exist_ok=True)
            written = draw.write(options.figures, collection, **shared)
        _line(console, "figures", f"{options.figures} ({len(written)} files)")
    _say_what_next(console, options)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options, with all files to write known to have a folder. ConfigError otherwise."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--metric", default=DEFAULT_METRIC)
    parser.add_argument("--group-by", dest="by", type=_keys)
    parser.add_argument("--sort")
    parser.add_argument("--filter", action="append", default=[], dest="filters")
    for flag in ("--csv", "--json", "--html"):
        parser.add_argument(flag)
    parser.add_argument("--figures", type=Path)
    options = parser.parse_intermixed_args(_with_files(argv))
    if not options.folders:
        raise ConfigError("Name the folder of a run or of a sweep: normexp report runs/NAME. normexp runs lists them.")
    if options.csv == options.json == "-":
        raise ConfigError("--csv - and --json - don't go together: only one of them can be the standard output.")
    if options.html is not None:
        beside = options.folders[0] if len(options.folders) == 1 else Path()
        options.html = beside / "report.html" if options.html == FILE_OF_DIR else Path(options.html)
    for flag in ("csv", "json", "html"):
        file = getattr(options, flag)
        if file not in (None, "-"):
            check_file(f"--{flag}", Path(file))
    if options.figures is not None:
        _check_figures(options.figures)
    return options


def _with_files(argv: Sequence[str]) -> list[str]:
    """--html with a FILE for itself, where none was given: a folder or a flag behind it is not one."""
    words = []
    for word, after in itertools.zip_longest(argv, argv[1:], fillvalue="--"):
        alone = word == "--html" and (after.startswith("-") or Path(after).is_dir())
        words.append(f"--html={FILE_OF_DIR}" if alone else word)
    return words


def _keys(text: str) -> list[str]:
    return [key for key in text.split(",") if key]


def check_file(flag: str, file: Path) -> None:
    """ConfigError where a flag's file can't be one: it is a folder, or lies in none."""
    if file.is_dir():
        raise ConfigError(
            f"{flag} {show(file)}: that is a folder; name a file in it, such as {show(file / 'report')}{_ending(flag)}."
        )
    _check_parent(flag, file)


def _check_figures(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--figures {show(folder)}: that is a file; figures go into a folder.")
    _check_parent("--figures", folder)


def _check_parent(flag: str, path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{flag} {show(path)}: there is no folder {show(path.parent)}; make it first.")


def _ending(flag: str) -> str:
    return flag.replace("--", ".")


def _read(options: argparse.Namespace) -> tuple[Collection, list[Collection]]:
    """All runs, and, of two folders, those of each."""
    collection = select(read(options.folders), options.filters)
    if len(options.folders) != 2:
        return collection, []
    sides = []
    for folder in options.folders:
        one = read([folder])
        kept = {run.directory for run in collection.runs}
        sides.append(Collection([run for run in one.runs if run.directory in kept], one.left_out))
    return collection, sides


def _write(file: str, text: str, what: str, console: Console) -> None:
    if file == "-":
        sys.stdout.write(text)
        return
    with writing(Path(file)):
        atomic.write_bytes(Path(file), text.encode("utf-8", "replace"))
    _line(console, what, file)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes there; ConfigError where that is not possible."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{show(path)} can't be written ({error.strerror or error}).") from error


def _line(console: Console, what: str, where: object) -> None:
    """A path or a command, unwrapped: they are there to be copied."""
    console.print(f"{what:<8} {printable(where)}", soft_wrap=True, markup=False)


def _say_what_next(console: Console, options: argparse.Namespace) -> None:
    folders = shlex.join(str(folder) for folder in options.folders)
    if options.html is None:
        _line(console, "page", f"normexp report {folders} --html")
    if len(options.folders) == 1:
        _line(console, "look in", f"normexp tensorboard {folders}")
