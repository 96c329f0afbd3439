"""`normexp bench [overrides]`: what each norm costs in time and memory on this machine."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from normexp.bench.cases import Case, Skipped, cases
from normexp.compose.overrides import arrange, check
from normexp.config import ConfigError, nearest, show
from normexp.rundir import atomic

if TYPE_CHECKING:
    from collections.abc import Callable

    from normexp.bench.results import Measured

REPEATS = 9

HELP = f"""\
usage: normexp bench [key=value ...] [flags]
  what a norm costs on this machine: time of the forward and the backward pass,
  time of inference (of batch norm also folded into the layer in front of it),
  and memory that the forward pass keeps for the backward pass, beside the same
  network without a norm. Inputs are random numbers; no data set is needed.

  model, norm and batch_size may have several values: norm=bn,ln batch_size=8,64
  (default: all norms and models, with 8, 32 and 128 samples a batch, on MNIST's
  images, resnet on CIFAR-10's). Other keys are those of normexp train: data,
  activation, dropout, threads, device, model.depth, norm.groups, ...

  --repeats N          rounds; in each, every norm is measured once, by turns
                       (default: {REPEATS})
  --json FILE          all that was measured; FILE - is standard output, and
                       nothing else is printed there
  --figure FILE        the ratios over the batch size: FILE.png, .svg or .pdf"""

FLAGS = ("--repeats", "--json", "--figure", "--help")

MOST = 10_000
"""Rounds."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flag = message.removeprefix("argument ").partition(":")[0]
        raise ConfigError(f"{flag} must be followed by a value; normexp bench --help says which.")


def main(argv: list[str]) -> int:
    """Measure, print the tables and write what was asked for. Raises ConfigError for what a user can mend, before measuring."""
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    options, overrides = _parse(argv)
    there, skipped = cases(check(arrange(overrides), sweeps=True))
    measured = _measure(there, skipped, options.repeats)
    _report(measured, skipped, options, overrides, command=["normexp", "bench", *argv])
    return 0


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Flags and overrides. ConfigError for flags that there are not, and for files that can't be made."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--repeats", default=str(REPEATS))
    parser.add_argument("--json")
    parser.add_argument("--figure")
    options, overrides = parser.parse_known_args(argv)
    unknown = next((word for word in overrides if word.startswith("-")), None)
    if unknown is not None:
        flag = unknown.partition("=")[0]
        raise ConfigError(f"There is no flag {show(flag)}.{nearest(flag, FLAGS)} normexp bench --help lists them.")
    repeats = options.repeats
    if not (repeats.isascii() and repeats.isdigit() and len(repeats) < 6 and 2 <= int(repeats) <= MOST):
        raise ConfigError(f"--repeats {show(repeats)}: it must be a whole number from 2 to {MOST:,}.")
    options.repeats = int(repeats)
    if options.json not in (None, "-"):
        _check_file("--json", options.json)
    if options.figure is not None:
        from normexp.bench.figure import SUFFIXES

        if Path(options.figure).suffix.lower().removeprefix(".") not in SUFFIXES:
            raise ConfigError(f"--figure {show(options.figure)}: its name must end in .{', .'.join(SUFFIXES)}.")
        _check_file("--figure", options.figure)
    return options, overrides


def _check_file(flag: str, file: str) -> None:
    try:
        path = Path(file)
        if path.is_dir():
            raise ConfigError(f"{flag} {show(file)}: that is a folder; name a file in it.")
        parent = path.absolute().parent
        there, ours = parent.is_dir(), os.access(parent, os.W_OK)
    except (OSError, ValueError) as error:  # a name that no file can have
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{flag} {show(file)}: no file can have that name.") from error
    if not there:
        raise ConfigError(f"{flag} {show(file)}: there is no folder {show(path.parent)}; make it first.")
    if not ours:
        raise ConfigError(f"{flag} {show(file)}: the folder {show(parent)} can't be written to; name another one.")


def _measure(there: Sequence[Case], skipped: list[Skipped], repeats: int) -> list[Measured]:
    """What was measured. Adds to `skipped` what there is not enough memory for; ConfigError where that is all."""
    from normexp.bench.measure import blocks, measure
    from normexp.training.status import cause_of, sentence

    measured: list[Measured] = []
    with _progress(sum(blocks(case, repeats) for case in there)) as tick:
        for case in there:
            config = next(iter(case.norms.values()))
            try:
                measured.append(measure(case, repeats=repeats, tick=partial(tick, case)))
            except (MemoryError, RuntimeError) as error:
                if cause_of(error) != "memory":
                    raise
                reason = sentence(error, config)
                skipped += [Skipped(case.model, norm, case.batch_size, f"{reason}.") for norm in case.norms]
    if not measured:
        raise ConfigError(f"model={there[0].model}: {skipped[-1].reason} Smaller batches or a smaller model may work.")
    return measured


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Case], None]]:
    """A bar on a terminal, drawn between what is timed; what comes out is called after each block."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda case: None
        return
    columns = TextColumn("{task.description}"), BarColumn(bar_width=None), TimeRemainingColumn(compact=True)
    with Progress(*columns, console=console, auto_refresh=False, transient=True, expand=True) as progress:
        task = progress.add_task("warming up", total=total)

        def tick(case: Case) -> None:
            progress.update(task, advance=1, description=f"{case.model}, batch {case.batch_size}", refresh=True)

        yield tick


def _report(
    measured: Sequence[Measured],
    skipped: Sequence[Skipped],
    options: argparse.Namespace,
    overrides: Sequence[str],
    *,
    command: list[str],
) -> None:
    """Print the tables, then write the files: what was measured is not lost where that fails."""
    import torch

    from normexp.bench.measure import BLOCK
    from normexp.bench.results import to_json
    from normexp.bench.table import show as show_tables
    from normexp.rundir.environment import environment

    quiet = options.json == "-"
    console = Console(highlight=False, emoji=False, quiet=quiet)
    processor = _processor()
    precision = [override for override in overrides if override.startswith(("amp=", "matmul_precision="))]
    made_with = ", ".join([processor, f"torch {torch.__version__}", *precision])
    show_tables(console, measured, skipped, repeats=options.repeats, block=BLOCK, made_with=made_with)
    if options.json is not None:
        around = environment(
            ["normexp", "bench", *sys.argv[2:]], device=measured[0].device, threads=measured[-1].threads
        )
        text = to_json(
            measured,
            skipped,
            overrides=overrides,
            repeats=options.repeats,
            block=BLOCK,
            environment={**around, "processor": processor},
        )
        if quiet:
            sys.stdout.write(text)
        else:
            atomic.write_text(Path(options.json), text)
            _line(console, "numbers", options.json)
    if options.figure is not None:
        from normexp.bench.figure import write

        write(Path(options.figure), measured)
        _line(console, "figure", options.figure)


def _line(console: Console, what: str, where: str) -> None:
    console.print(f"{what:<8} {where}", soft_wrap=True, markup=False)


def _processor() -> str:
    """The processor's name and its number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores"
