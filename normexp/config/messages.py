"""Errors that a user can fix, and helpers for their messages."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

SYNONYMS = {
    **dict.fromkeys(("normalization", "normalisation", "normalizer", "norm_layer"), "norm"),
    **dict.fromkeys(("learning_rate", "learningrate", "base_lr", "peak_lr"), "lr"),
    **dict.fromkeys(("wd", "decay", "l2"), "optim.weight_decay"),
    **dict.fromkeys(("network", "net", "arch", "architecture", "backbone"), "model"),
    **dict.fromkeys(("layers", "num_layers", "n_layers", "hidden_layers"), "model.depth"),
    **dict.fromkeys(("units", "hidden_size", "hidden_dim"), "model.width"),
    **dict.fromkeys(("dataset", "datasets"), "data"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), "schedule"),
    **dict.fromkeys(("batch", "bs", "batchsize"), "batch_size"),
    **dict.fromkeys(
        ("accumulate_grad_batches", "gradient_accumulation_steps", "grad_accum", "micro_batches"), "accumulate"
    ),
    **dict.fromkeys(("num_epochs", "max_epochs", "n_epochs"), "epochs"),
    **dict.fromkeys(("iterations", "iters", "max_steps", "num_steps"), "steps"),
    **dict.fromkeys(("act", "act_fn", "nonlinearity"), "activation"),
    **dict.fromkeys(("output_dir", "out_dir", "save_dir", "log_dir", "logdir"), "runs_dir"),
    **dict.fromkeys(("gpu", "gpus", "cuda"), "device"),
    **dict.fromkeys(("precision", "fp16", "bf16"), "amp"),
    **dict.fromkeys(("clip", "gradient_clip", "clip_grad_norm"), "grad_clip"),
    **dict.fromkeys(("n_jobs", "workers", "num_workers"), "jobs"),
    **dict.fromkeys(("num_groups", "n_groups"), "norm.groups"),
    "optimiser": "optim",
    "optimizer": "optim",
    "random_seed": "seed",
    "initialization": "init",
}
"""Keys of other libraries, and the key here."""


class ConfigError(ValueError):
    """An error that the user can fix: a sentence on what is wrong and what would work."""


class InvalidValueError(ConfigError):
    """A value of a wrong type or out of range, whatever the rest of the config is."""


class ForbiddenKeyError(ConfigError):
    """A key that no config may set."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is meant by a typo or a synonym. None if none is close: a wrong guess is worse than none."""
    import difflib  # late, to keep --help fast

    known = list(known)
    if (synonym := SYNONYMS.get(word.lower())) in known:
        return synonym
    plain = {name.lstrip("-"): name for name in known}  # dashes would make all flags alike
    word = word.lower().lstrip("-")
    swapped = (name for name in plain if sorted(name) == sorted(word))
    close = difflib.get_close_matches(word, plain, n=1, cutoff=0.7) or list(swapped)
    return plain[close[0]] if close else None


def suggest(word: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' with the closest known word. Empty if none is close."""
    known = list(known)
    if word.lower() == "gpu" and "cuda" in known:
        return " Did you mean cuda?"
    close = nearest(word, known)
    return f" Did you mean {close}?" if close else ""


def suggest_folder(path: Path, runs_dir: Path = Path("runs")) -> str:
    """' Did you mean ...?' with a folder of a similar name, next to the path or in runs_dir. Empty if none is close."""
    with suppress(OSError):
        if path.is_file() and path.parent.name:
            return f" Did you mean {show(path.parent, 200)}?"
        parents = [parent for parent in (path.parent, runs_dir / path.parent) if parent.is_dir()]
        folders = {entry.name: entry for parent in parents for entry in parent.iterdir() if entry.is_dir()}
        if close := nearest(path.name, sorted(folders)):
            return f" Did you mean {show(folders[close], 200)}?"
    return ""


def show(value: Any, max_length: int = 60) -> str:
    """A value as in a yaml file or an override: printable, and shortened to `max_length` characters."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case list() | tuple():
            text = "[" + ",".join(show(item) for item in value) + "]"
        case _:
            text = str(value)
    text = printable(text)
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def printable(text: object) -> str:
    """The string with `?` in place of line breaks, escape sequences and other unprintable characters."""
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def join_names(names: Iterable[str]) -> str:
    """'a, b, c', shortened if it would not fit into a sentence."""
    return show(", ".join(names), max_length=200)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Message for an unknown key: suggests the closest key of its group, or lists all of them."""
    group, _, last = key.rpartition(".")
    siblings = [name for name in known if name.rpartition(".")[0] == group]
    if close := nearest(last, [name.rpartition(".")[2] for name in siblings]):
        return f"Unknown key {show(key)}. Did you mean {f'{group}.{close}' if group else close}?"
    return f"Unknown key {show(key)}." + (f" The keys are {', '.join(siblings)}." if siblings else "")


def unknown_choice(group: str, name: str, known: Iterable[str], *, meant: str | None = None) -> str:
    """Message for an unknown choice of a group, with the one that is meant, by default the closest."""
    known = list(known)
    hint = f" Did you mean {meant}?" if meant else suggest(name, known)
    return f"{group}={show(name)}: {group} is one of {', '.join(known)}.{hint}"
