"""What the benchmarks share: taking turns, medians with quartiles, the machine in words, a table, and one JSON file each.

Nothing here imports torch: a child's peak of memory begins with that of the process that starts it.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BIN = Path(sys.executable).parent
COMMAND = [str(BIN / "normexp")] if (BIN / "normexp").exists() else [sys.executable, "-m", "normexp"]
"""What the shell runs for `normexp`."""


@dataclass(frozen=True)
class Row:
    """One thing that was measured: the median of `values`, its quartiles, and what it should be.

    unit: none for a ratio. at_least: the goal is a lower limit; else an upper one. more: further numbers of the row, by name.
    """

    what: str
    values: Sequence[float]
    goal: float | None = None
    unit: str = ""
    at_least: bool = False
    more: Mapping[str, float | int | str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The row as it stands in a JSON file."""
        low, measured, high = spread(self.values)
        met = None if self.goal is None else (measured >= self.goal if self.at_least else measured <= self.goal)
        limit = None if self.goal is None else {"at_least" if self.at_least else "at_most": self.goal}
        return {
            "what": self.what,
            "measured": measured,
            "quartiles": [low, high],
            "unit": self.unit or "ratio",
            "repeats": len(self.values),
            "goal": limit,
            "met": met,
            **self.more,
        }


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, all inside the values' range."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def alternate(sides: Sequence[Callable[[], float]], repeats: int, *, warm_up: bool = True) -> list[tuple[float, ...]]:
    """What each side says, in as many rounds, each in the reverse order of the one before; one more to warm up is left out."""
    rounds = []
    for repeat in range(0 if warm_up else 1, repeats + 1):
        order = range(len(sides)) if repeat % 2 else range(len(sides) - 1, -1, -1)
        said = {i: sides[i]() for i in order}
        if repeat:
            rounds.append(tuple(said[i] for i in range(len(sides))))
    return rounds


def parser(doc: str | None, *, repeats: int | None, repeats_help: str = "") -> argparse.ArgumentParser:
    """The arguments that all benchmarks take; `repeats=None` leaves their number to each row."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--data-dir", default=os.environ.get("NORMEXP_DATA_DIR", "data"), help="where MNIST and CIFAR-10 lie"
    )
    made.add_argument("--repeats", type=positive, default=repeats, help=repeats_help or f"measured rounds ({repeats})")
    made.add_argument("--json", type=Path, help="the file to write, or a folder, which gets one of the script's name")
    made.add_argument("--quick", action="store_true", help="as little as shows that the script works: no measurement")
    return made


def parse(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of the command line, with `json` as the path of a file that can be made and `data_dir` absolute."""
    arguments = made.parse_args()
    arguments.data_dir = str(Path(arguments.data_dir).expanduser().resolve())
    if arguments.json is not None:
        try:
            arguments.json = json_file(arguments.json, Path(sys.argv[0]).stem)
        except OSError as error:
            made.error(f"--json {arguments.json}: {error.strerror}")
    if not arguments.quick and (load := os.getloadavg()[0]) > BUSY:
        print(
            f"note: this machine is busy (load {load:.1f}): torch's threads then wait for one another", file=sys.stderr
        )
    return arguments


BUSY = 0.7
"""The load from which on the numbers are not to be trusted; a benchmark that has just ended leaves about so much."""


def json_file(path: Path, name: str) -> Path:
    """The file itself, or that of this name in a folder; what has no suffix is a folder, and is made where it is missing."""
    if path.is_dir() or not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        path /= f"{name}.json"
    if not path.parent.is_dir():
        raise FileNotFoundError(2, "the folder that it is to lie in does not exist")
    return path


def told(row: Row) -> Row:
    """The row itself, of which standard error hears at once: the table is printed when all is done."""
    print(f"{row.what}: {spread(row.values)[1]:.3f} {row.unit}".rstrip(), file=sys.stderr, flush=True)
    return row


def finish(title: str, rows: Sequence[Row], arguments: argparse.Namespace, **more: Any) -> None:
    """Print the rows as a table, and write them to --json's file, with the machine and whatever else is given."""
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
        low, measured, high = (f"{value:.{digits}f}" for value in spread(row.values))
        goal = "" if row.goal is None else f"{'>=' if row.at_least else '<='} {row.goal:g}{unit}"
        met = {None: "", True: "met", False: "missed"}[row.summary()["met"]]
        cells = [_cell(row.more[name]) if name in row.more else "" for name in names]
        table.add_row(row.what, *cells, measured + unit, f"{low} to {high}", goal, met)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if arguments.json is not None:
        content = {"machine": machine(), "quick": arguments.quick, **more, "rows": [row.summary() for row in rows]}
        write_json(arguments.json, content)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def machine() -> dict[str, Any]:
    """The machine and what runs on it. threads: those that torch takes by itself."""
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
    """For the commands that are measured: Python keeps what it compiled, as it does for everybody by default."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "NORMEXP_DATA_DIR")
    }


def must_succeed(command: Sequence[str], folder: Path) -> str:
    """Run a command in a folder and return its standard output; what it said ends the benchmark where it fails."""
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


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
