"""The help of `normexp` and `normexp train`, with keys and explanations from the comments of the yaml files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from normexp import __version__
from normexp.commands import COMMANDS
from normexp.config import GROUPS, OVERLAYS, ConfigError, describe_values, show, suggest, unknown_choice, yaml_files

if TYPE_CHECKING:
    from normexp.compose.argv import Arguments


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
    _table(console, "Choices", [_group(group) for group in GROUPS])
    topics = [
        ("normexp help COMMAND", "explains a command; normexp help train also lists all keys"),
        ("normexp help KEY", "explains a key, group or choice: help lr, help norm, help norm=gn"),
    ]
    _table(console, "More help", topics)


def train_help(arguments: Arguments) -> None:
    """Print the help of `normexp train`: the keys of the choices in the overrides, otherwise of the default ones."""
    console = Console(highlight=False)
    usage = escape("[flags] [key=value ...]")
    console.print(f"[bold]normexp train[/] {usage}: train one network, or several with -m\n")
    config_dirs = [arguments.config_dir] if arguments.config_dir else []
    groups = [_group(group, *config_dirs) for group in GROUPS]
    _table(console, "Choices (group=choice; the first is the default)", groups)
    chosen = dict(override.split("=", 1) for override in arguments.overrides if "=" in override)
    for group in GROUPS:
        _print_keys(console, group, chosen.get(group, yaml_files.default_choice(group)))
    root = yaml_files.explained("", "train")
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
    clusters = [
        ("hydra/launcher=slurm", "run on a Slurm cluster; hydra/launcher=ray: on a Ray cluster"),
        ("hydra/sweeper=optuna", "hyperparameter search: lr=tag(log,interval(0.001,1)) hydra.sweeper.n_trials=20"),
    ]
    _table(console, "Clusters and hyperparameter search", clusters)


def topic_help(topic: str) -> None:
    """Print the help of a key, group or choice, such as lr, norm or norm=gn. Raises ConfigError for other words."""
    from normexp.compose.choices import known_keys
    from normexp.compose.overrides import keys_called

    console = Console(highlight=False)
    word, _, choice = topic.partition("=")
    names = keys_called(word)
    if not names:
        names, choice = [group for group in GROUPS if word in yaml_files.choices(group)][:1], word
    if not names:
        hint = suggest(topic, [*COMMANDS, *GROUPS, *known_keys()]) or " normexp help train lists all keys."
        raise ConfigError(f"Unknown command or key {show(topic)}.{hint}")
    for name in names:
        known = yaml_files.choices(name) if name in (*GROUPS, *OVERLAYS) else []
        if choice and known and choice not in known:
            raise ConfigError(unknown_choice(name, choice, known))
        if name in OVERLAYS:
            _table(console, f"Choices of {name}", _overlays(name))
        elif name in GROUPS:
            _table(console, f"Choices of {name} (the first is the default)", _choices(name))
            _print_keys(console, name, choice or yaml_files.default_choice(name))
            console.print(f"[bold]normexp help {name}=CHOICE[/] explains the keys of another choice.")
        else:
            _table(console, f"Key {name}", _explanations(name))


def _explanations(key: str) -> list[tuple[str, str]]:
    """A key with its default, meaning and values: for each group of choices in which these are the same."""
    from normexp.compose.choices import key_types

    group, _, name = key.rpartition(".")
    same: dict[tuple[str, str, str], list[str]] = {}
    for choice, (hint, bounds) in key_types(key).items():
        keys = yaml_files.explained(group, choice or "train")
        if name in keys:
            same.setdefault((*keys[name], describe_values(hint, bounds)), []).append(f"{group}={choice}")
    rows = []
    for (default, comment, values), choices in same.items():
        rows += [(f"{key}={default}", comment), ("", values)]
        rows += [("", f"with {', '.join(choices)}")] * bool(group)
    return rows


def _print_keys(console: Console, group: str, choice: str | None) -> None:
    """Print the keys of a choice, if it has any."""
    keys = yaml_files.explained(group, choice or "")
    if rows := [(f"{group}.{key}={value}", comment) for key, (value, comment) in keys.items() if key != "name"]:
        _table(console, f"Keys of {group}={choice}", rows)


def _group(group: str, *config_dirs: Path) -> tuple[str, str]:
    """A group and its choices, the default one first."""
    default = yaml_files.default_choice(group) or ""
    names = yaml_files.choices(group, *config_dirs)
    return group, ", ".join([default, *(name for name in names if name != default)])


def _choices(group: str) -> list[tuple[str, str]]:
    """The choices of a group with the comments on their names, the default one first; in one row if there are no comments."""
    names = _group(group)[1].split(", ")
    comments = [yaml_files.explained(group, name).get("name", ("", ""))[1] for name in names]
    return list(zip([f"{group}={name}" for name in names], comments, strict=True)) if any(comments) else [_group(group)]


def _overlays(group: str) -> list[tuple[str, str]]:
    """Each choice of `experiment` or `debug` as an override, and its first comment."""
    overlays = []
    for name in yaml_files.choices(group):
        lines = (yaml_files.folder() / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
        overlays.append((f"{group}={name}", comments[0] if comments else ""))
    return overlays


def _table(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(
        Column(no_wrap=True, style="cyan"), "", show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 2)
    )
    for left, right in rows:
        table.add_row(escape(left), escape(right))
    console.print(f"[bold]{title}[/]", table, "", sep="\n")
