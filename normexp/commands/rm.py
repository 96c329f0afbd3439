"""`normexp rm DIR...`: delete runs and sweeps."""

import sys
from collections.abc import Sequence
from pathlib import Path

from normexp.commands.parser import Parser
from normexp.config import ConfigError, expand_path, printable
from normexp.sweeps.delete import Deletable, deletable, delete

HELP = """\
usage: normexp rm DIR... [flags]
  delete runs and sweeps, after listing them and asking; nothing that is in use
  or outside of runs_dir

  -y, --yes      delete without asking
  runs_dir=DIR   folder that holds the runs (default: runs)"""


def main(argv: list[str]) -> int:
    """List the directories, ask, and delete them; returns 1 if the answer is no. Raises ConfigError, with nothing deleted."""
    options = parser().parse(argv)
    given = [word.removeprefix("runs_dir=") for word in options.words if word.startswith("runs_dir=")]
    paths = [Path(word) for word in options.words if not word.startswith("runs_dir=")]
    if not paths:
        raise ConfigError("Name the directory of a run or sweep: normexp rm runs/NAME. normexp runs lists them.")
    items = deletable(paths, expand_path("runs_dir", given[-1] if given else "runs"))
    if not options.yes and not sys.stdin.isatty():
        raise ConfigError("Nothing was deleted: without a terminal for the confirmation, add --yes.")
    for item in items:
        what = f"run, {item.state}" if item.state else f"sweep, {item.runs} run{'s' * (item.runs != 1)}"
        size = f"{item.size / 1e9:.1f} GB" if item.size >= 1e9 else f"{item.size / 1e6:.1f} MB"
        print(f"{printable(item.path)}  ({what}, {size})")
    if not options.yes and not _confirmed(items):
        print("Nothing was deleted.")
        return 1
    delete(items)
    print("Deleted.")
    return 0


def parser() -> Parser:
    parser = Parser("rm")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--yes", "-y", action="store_true")
    return parser


def _confirmed(items: Sequence[Deletable]) -> bool:
    what = "this directory" if len(items) == 1 else f"these {len(items)} directories"
    try:
        return input(f"Delete {what}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
