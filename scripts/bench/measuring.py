"""Shared by the benchmarks: alternating rounds, quartiles, a description of the machine, a table and a JSON file.

Does not import torch, because the peak memory of a child process starts at that of its parent.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BIN = Path(sys.executable).parent
COMMAND = [str(BIN / "normexp")] if (BIN / "normexp").exists() else [sys.executable, "-m", "normexp"]
"""The `normexp` command as the shell runs it."""

MAX_LOAD = 0.7
"""Load average above which timings can't be trusted. A benchmark that has just ended leaves about this much."""

RSS_PER_MIB = 1024 if sys.platform == "linux" else 1 << 20
"""Units of ru_maxrss per MiB: Linux counts KiB, macOS bytes."""


@dataclass(frozen=True)
class Row:
    """A measurement: values of which the median counts, and its goal.

    unit: empty for a ratio. at_least: the goal is a lower bound rather than an upper one. more: further numbers to show.
    """

    what: str
    values: Sequence[float]
    goal: float | None = None
    unit: str = ""
    at_least: bool = False
    more: Mapping[str, float | int | str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The row's entry in a JSON file."""
        low, median, high = quartiles(self.values)
        met = None if self.goal is None else (median >= self.goal if self.at_least else median <= self.goal)
        goal = None if self.goal is None else {"at_least" if self.at_least else "at_most": self.goal}
        return {
            "what": self.what,
            "measured": median,
            "quartiles": [low, high],
            "unit": self.unit or "ratio",
            "repeats": len(self.values),
            "goal": goal,
            "met": met,
            **self.more,
        }


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, interpolated within the range of the values."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def alternate(sides: Sequence[Callable[[], float]], repeats: int, *, warm_up: bool = True) -> list[tuple[float, ...]]:
    """Measure all sides in each of `repeats` rounds, in alternating order. The warm-up is an extra round that is discarded."""
    rounds = []
    for repeat in range(0 if warm_up else 1, repeats + 1):
        order = range(len(sides)) if repeat % 2 else range(len(sides) - 1, -1, -1)
        values = {i: sides[i]() for i in order}
        if repeat:
            rounds.append(tuple(values[i] for i in range(len(sides))))
    return rounds


def argument_parser(doc: str | None, *, repeats: int | None, repeats_help: str = "") -> argparse.ArgumentParser:
    """The arguments of all benchmarks. With `repeats=None` each row has a default of its own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-dir", default=os.environ.get("NORMEXP_DATA_DIR", "data"), help="where MNIST and CIFAR-10 lie"
    )
    parser.add_argument(
        "--repeats", type=positive, default=repeats, help=repeats_help or f"measured rounds ({repeats})"
    )
    parser.add_argument("--json", type=Path, help="the file to write, or a folder, which gets one of the script's name")
    parser.add_argument("--quick", action="store_true", help="as little as shows that the script works: no measurement")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line. `json` becomes the path of a file that can be written, `data_dir` absolute."""
    arguments = parser.parse_args()
    arguments.data_dir = str(Path(arguments.data_dir).expanduser().resolve())
    if arguments.json is not None:
        try:
            arguments.json = json_file(arguments.json, Path(sys.argv[0]).stem)
        except OSError as error:
            parser.error(f"--json {arguments.json}: {error.strerror}")
    if not arguments.quick and (load := os.getloadavg()[0]) > MAX_LOAD:
        print(
            f"note: this machine is busy (load {load:.1f}): torch's threads then wait for one another", file=sys.stderr
        )
    return arguments


def json_file(path: Path, name: str) -> Path:
    """The file itself, or NAME.json in a folder. A path without a suffix is a folder, which is created if missing."""
    if path.is_dir() or not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        path /= f"{name}.json"
    if not path.parent.is_dir():
        raise FileNotFoundError(2, "the folder that it is to lie in does not exist")
    return path


def report(row: Row) -> Row:
    """Print the row to standard error as progress, and return it; the table is printed at the end."""
    print(f"{row.what}: {quartiles(row.values)[1]:.3f} {row.unit}".rstrip(), file=sys.stderr, flush=True)
    return row


def finish(title: str, rows: Sequence[Row], arguments: argparse.Namespace, **more: Any) -> None:
    """Print the rows as a table, and write them to the file of --json with the machine and `more`."""
    if arguments.quick:
        title += " (--quick: no measurement)"
    names = list(dict.fromkeys(name for row in rows for name in row.more))
    table = Table("what", box=None, pad_edge=False, title=title, title_justify="left")
    for name in (*names, "measured"):
        table.add_column(name, justify="right")
    for name in ("quartiles", "goal", ""):
        table.add_column(name)
    for row in rows:
        unit, digits = (f" {row.unit}", 2) if row.unit else ("", 3)
        low, median, high = (f"{value:.{digits}f}" for value in quartiles(row.values))
        goal = "" if row.goal is None else f"{'>=' if row.at_least else '<='} {row.goal:g}{unit}"
        met = {None: "", True: "met", False: "missed"}[row.summary()["met"]]
        more_cells = [_cell(row.more[name]) if name in row.more else "" for name in names]
        table.add_row(row.what, *more_cells, median + unit, f"{low} to {high}", goal, met)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if arguments.json is not None:
        content = {"machine": machine(), "quick": arguments.quick, **more, "rows": [row.summary() for row in rows]}
        write_json(arguments.json, content)


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def machine() -> dict[str, Any]:
    """The machine and versions. threads: torch's default."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "processor": _processor(),
        "cpus": cpus,
        "threads": int(os.environ.get("OMP_NUM_THREADS") or cpus),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "load": os.getloadavg()[0],
    }


def environment() -> dict[str, str]:
    """Environment of the measured commands. Python may cache bytecode, as it does for users."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "NORMEXP_DATA_DIR")
    }


def check_output(command: Sequence[str], folder: Path) -> str:
    """Run a command in a folder and return its standard output. Exits with the command's output if it fails."""
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def command_seconds(command: Sequence[str]) -> float:
    """Seconds from start to exit of a command, run in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        check_output(command, Path(folder))
        return time.perf_counter() - start


def _cell(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
