"""The help of `normexp` and `normexp train`, with keys and explanations from the comments of the yaml files."""

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
        ("normexp train norm=ln lr=0.5", "layer norm, a larger learning rate"),
        ("normexp train norm=none model=mlp activation=sigmoid", "no norm, and sigmoids"),
        ("normexp train -m norm=none,bn,ln,gn seed=0,1,2", "a sweep: every combination, then a table"),
        ("normexp train experiment=lr-range", "a predefined sweep: which learning rates work"),
        ("normexp report runs/NAME --html", "an HTML page with tables, curves and heat maps"),
        ("normexp tensorboard", "activations and gradients of all layers in TensorBoard"),
    ]
    _table(console, "Try", examples)
    _table(console, "Choices", _groups())
    console.print(
        "[bold]normexp help COMMAND[/] explains a command, [bold]normexp help train[/] also every key.", soft_wrap=True
    )


def train_help(arguments: Arguments) -> None:
    """Print the help of `normexp train`: the keys of the choices in the overrides, otherwise of the default ones."""
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
        ("seeds=N", "a sweep over N seeds, short for -m seed=0,1,...,N-1"),
        ("-m, --multirun", "a sweep, one run per combination of values: -m norm=bn,ln lr=0.1,1"),
        ("--dry-run", "print what would be trained and about how long it takes; nothing is written"),
        ("-q, --quiet", "print only the results"),
        ("--cfg job", "print the config instead of training"),
        ("--config-dir DIR", "add your own choices from DIR/norm/NAME.yaml, DIR/experiment/NAME.yaml, ..."),
        ("--info", "print how Hydra composes the config; --hydra-help lists Hydra's flags"),
        ("--help group=choice", "explain the keys of another choice: --help norm=gn model=resnet"),
    ]
    _table(console, "Flags and shorthands", flags)
    _table(console, "Predefined sweeps", _overlays("experiment"))
    _table(console, "Debug modes", _overlays("debug"))
    optuna = "hyperparameter search: lr=tag(log,interval(0.001,1)) hydra.sweeper.n_trials=20"
    clusters = [
        ("hydra/launcher=slurm", "run on a Slurm cluster; hydra/launcher=ray: on a Ray cluster"),
        ("hydra/sweeper=optuna", optuna),
    ]
    _table(console, "Clusters and hyperparameter search", clusters)


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
            # The default, used if the environment variable is not set.
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
