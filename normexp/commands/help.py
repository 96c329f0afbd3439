"""The help of `normexp` and `normexp train`. Keys and their meaning are read from the comments of the yaml files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from normexp import __version__
from normexp.commands import COMMANDS
from normexp.config import GROUPS, yaml_files

if TYPE_CHECKING:
    from normexp.compose.overrides import Arguments

LINE = re.compile(r"^(?P<key>[a-z_]+):\s*(?P<value>.*?)\s*(?:#\s*(?P<comment>.*))?$")


def main_help() -> None:
    """Print the help of `normexp`."""
    console = Console(highlight=False)
    console.print(f"[bold]normexp {__version__}[/]: see what a normalization layer does to a network\n")
    _table(console, "Commands", [(f"normexp {name}", does) for name, does in COMMANDS.items()])
    examples = [
        ("normexp train", "a small CNN with batch norm on handwritten digits, in seconds"),
        ("normexp train norm=ln lr=0.5", "another norm, a larger learning rate"),
        ("normexp train norm=none model=mlp activation=sigmoid", "no norm, and sigmoids"),
        ("normexp train -m norm=none,bn,ln,gn seed=0,1,2", "a sweep: every combination, then a table"),
        ("normexp train experiment=lr-range", "a sweep that is shipped: which learning rates work"),
        ("normexp report runs/NAME --html", "tables, curves and heat maps of a sweep on one page"),
        ("normexp tensorboard", "what happened inside, in the browser"),
    ]
    _table(console, "Try", examples)
    _table(console, "Choices", _groups())
    console.print("[bold]normexp train --help[/] explains every key.", soft_wrap=True)


def train_help(arguments: Arguments) -> None:
    """Print the help of `normexp train`: the keys of the default choices, or of those that the overrides choose."""
    console = Console(highlight=False)
    usage = escape("[flags] [key=value ...]")
    console.print(f"[bold]normexp train[/] {usage}: train one network, or several with -m\n")
    _table(console, "Choices (group=choice; the first is the default)", _groups(arguments.config_dir))
    chosen = dict(override.split("=", 1) for override in arguments.overrides if "=" in override)
    for group in GROUPS:
        name = chosen.get(group, yaml_files.default_choice(group))
        path = yaml_files.folder() / group / f"{name}.yaml"
        rows = [
            (f"{group}.{key}={value}", comment) for key, (value, comment) in keys_of_file(path).items() if key != "name"
        ]
        if rows:
            _table(console, f"Keys of {group}={name}", rows)
    root = keys_of_file(yaml_files.folder() / "train.yaml")
    _table(console, "Keys of every run", [(f"{key}={value}", comment) for key, (value, comment) in root.items()])
    flags = [
        ("-m, --multirun", "a sweep, one run for each combination of values with commas: -m norm=bn,ln lr=0.1,1"),
        ("--cfg job", "print the config instead of training"),
        ("--config-dir DIR", "a folder of your own with further choices: DIR/norm/NAME.yaml, DIR/experiment/NAME.yaml"),
        ("--info", "how Hydra puts the config together; --hydra-help lists its other flags"),
        ("--help group=choice", "this text with the keys of another choice: --help norm=gn model=resnet"),
    ]
    _table(console, "Flags", flags)
    _table(console, "Sweeps that are shipped", _overlays("experiment"))
    _table(console, "To see that it works, and where it doesn't", _overlays("debug"))
    optuna = "values chosen by an optimizer: lr=tag(log,interval(0.001,1)) hydra.sweeper.n_trials=20"
    clusters = [
        ("hydra/launcher=slurm", "runs as jobs of a Slurm cluster; hydra/launcher=ray: on a Ray cluster"),
        ("hydra/sweeper=optuna", optuna),
    ]
    _table(console, "Beyond one machine and beyond grids", clusters)


def _groups(config_dir: Path | None = None) -> list[tuple[str, str]]:
    rows = []
    for group in GROUPS:
        default = yaml_files.default_choice(group) or ""
        names = yaml_files.choices(group, *([config_dir] if config_dir else []))
        rows.append((group, ", ".join([default, *(name for name in names if name != default)])))
    return rows


def _overlays(group: str) -> list[tuple[str, str]]:
    """Each choice of `experiment` or `debug` as an override, and its first comment."""
    overlays = []
    for name in yaml_files.choices(group):
        lines = (yaml_files.folder() / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
        overlays.append((f"{group}={name}", comments[0] if comments else ""))
    return overlays


def keys_of_file(path: Path) -> dict[str, tuple[str, str]]:
    """Default and comment of each line `key: value  # comment` at the top of a yaml file.

    A line `defaults: [other]` includes the keys of other.yaml in the same folder.
    """
    keys: dict[str, tuple[str, str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        match = LINE.match(line)
        if match and match["key"] == "defaults":
            for other in re.findall(r"\w+", match["value"]):
                keys |= keys_of_file(path.with_name(f"{other}.yaml"))
        elif match and match["value"]:
            # The default if the environment variable is not set.
            value = re.sub(r"^\$\{oc\.env:\w+,(.*)\}$", r"\1", match["value"])
            keys[match["key"]] = value, match["comment"] or ""
    return keys


def _table(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(
        Column(no_wrap=True, style="cyan"), "", show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 2)
    )
    for left, right in rows:
        table.add_row(escape(left), escape(right))
    console.print(f"[bold]{title}[/]", table, "", sep="\n")
