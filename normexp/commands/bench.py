"""`normexp bench`: measure what each norm costs in time and memory on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from normexp.bench.cases import REFERENCE, Case, Skipped, plan_cases
from normexp.commands.parser import Parser, check_output_file
from normexp.compose.argv import parse_argv
from normexp.compose.overrides import validate_overrides
from normexp.config import ConfigError, show
from normexp.console import print_labelled
from normexp.rundir import atomic

if TYPE_CHECKING:
    from normexp.bench.results import CaseResult

DEFAULT_REPEATS = 9

HELP = f"""\
usage: normexp bench [key=value ...] [flags]
  measure what each norm costs on this machine, relative to the same network
  without a norm: time of the forward pass, the backward pass and inference (for
  batch norm also folded into the preceding layer), and memory that the forward
  pass saves for the backward pass. Inputs are random; no data set is needed.

  model, norm and batch_size can have several values: norm=bn,ln batch_size=8,64
  (default: all norms and models, batch sizes 8, 32 and 128, images of MNIST's
  size, for resnet of CIFAR-10's). Other keys are those of normexp train: data,
  activation, dropout, threads, device, model.depth, norm.groups, ...

  --repeats N          rounds; each measures all norms once, interleaved
                       (default: {DEFAULT_REPEATS})
  --json FILE          all measurements as JSON; with --json -, standard output
                       gets the JSON and nothing else
  --figure FILE        plot of the ratios by batch size: .png, .svg or .pdf"""

MAX_REPEATS = 10_000  # more take days and add no precision


def main(argv: list[str]) -> int:
    """Measure, print the tables and write the files. Raises ConfigError for wrong arguments, before measuring."""
    options = _parse(argv)
    to_measure, skipped = plan_cases(validate_overrides(parse_argv(options.overrides).overrides, sweeps=True))
    measured = _measure(to_measure, skipped, options.repeats)
    _report(measured, skipped, options, command=["normexp", "bench", *argv])
    return 0


def parser() -> Parser:
    parser = Parser("bench")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--repeats", default=str(DEFAULT_REPEATS))
    parser.add_argument("--json")
    parser.add_argument("--figure")
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the options. Raises ConfigError, also for files that can't be created."""
    options = parser().parse(argv)
    repeats = options.repeats
    if not (repeats.isascii() and repeats.isdigit() and len(repeats) < 6 and 2 <= int(repeats) <= MAX_REPEATS):
        raise ConfigError(f"--repeats {show(repeats)}: must be an integer from 2 to {MAX_REPEATS:,}.")
    options.repeats = int(repeats)
    if options.json not in (None, "-"):
        check_output_file("--json", Path(options.json), example="bench.json")
    if options.figure is not None:
        from normexp.plotting.style import FILE_TYPES

        if Path(options.figure).suffix.lower().removeprefix(".") not in FILE_TYPES:
            raise ConfigError(f"--figure {show(options.figure)}: the file name must end in .{', .'.join(FILE_TYPES)}.")
        check_output_file("--figure", Path(options.figure), example="bench.png")
    return options


def _measure(to_measure: Sequence[Case], skipped: list[Skipped], repeats: int) -> list[CaseResult]:
    """Measure the cases, with a progress bar that is redrawn between timed blocks. Cases that run out of memory are added to
    `skipped`. Raises ConfigError if none is left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from normexp.bench.measure import count_blocks, measure
    from normexp.training.errors import cause_of, describe_error

    measured: list[CaseResult] = []
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(bar_width=None), TimeRemainingColumn(compact=True)
    hidden = not console.is_terminal
    with Progress(
        *columns, console=console, auto_refresh=False, transient=True, expand=True, disable=hidden
    ) as progress:
        task = progress.add_task("warming up", total=sum(count_blocks(case, repeats) for case in to_measure))
        for case in to_measure:
            about = f"{case.model}, batch {case.batch_size}"
            tick = partial(progress.update, task, advance=1, description=about, refresh=True)
            try:
                measured.append(measure(case, repeats=repeats, tick=tick))
            except (MemoryError, RuntimeError) as error:
                if cause_of(error) != "memory":
                    raise
                reason = describe_error(error, case.norms[REFERENCE])
                skipped += [Skipped(case.model, norm, case.batch_size, f"{reason}.") for norm in case.norms]
    if not measured:
        raise ConfigError(f"model={to_measure[0].model}: {skipped[-1].reason} Try smaller batches or a smaller model.")
    return measured


def _report(
    measured: Sequence[CaseResult], skipped: Sequence[Skipped], options: argparse.Namespace, *, command: list[str]
) -> None:
    """Print the tables, then write the files, so that measurements are shown even if writing fails."""
    from normexp.bench.results import MIN_BLOCK_SECONDS, to_json
    from normexp.bench.table import print_results
    from normexp.rundir.environment import environment, processor

    console = Console(highlight=False, emoji=False, quiet=options.json == "-")
    cpu = processor()
    precision = [override for override in options.overrides if override.startswith(("amp=", "matmul_precision="))]
    machine = ", ".join([cpu, f"torch {version('torch')}", *precision])
    print_results(console, measured, skipped, repeats=options.repeats, machine=machine)
    if options.json is not None:
        about = {"overrides": options.overrides, "repeats": options.repeats, "block_ms": 1e3 * MIN_BLOCK_SECONDS}
        around = environment(command, device=measured[0].device, threads=measured[-1].threads)
        text = to_json(measured, skipped, {**about, "environment": {**around, "processor": cpu}})
        if options.json == "-":
            sys.stdout.write(text)
        else:
            atomic.write_text(Path(options.json), text)
            print_labelled(console, "numbers", options.json)
    if options.figure is not None:
        from normexp.bench.figure import write_figure

        write_figure(Path(options.figure), measured)
        print_labelled(console, "figure", options.figure)
