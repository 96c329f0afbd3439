"""A claim on other data: the same networks, rule and seeds, with the data of all runs replaced."""

import hashlib
import itertools
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from normexp.claims.schema import SEPARATOR, Claim
from normexp.claims.setup import data_name
from normexp.compose.compose import quoted
from normexp.config import ConfigError, expand_path, show, suggest, yaml_files
from normexp.data import DATA

OWN_FILES = ("folder", "npz")
"""Choices of `data` that are given by a path."""


def find_data(word: str, config_dir: Path | None = None) -> str:
    """The name of a data set, or the absolute path of a folder of images or an .npz file. Raises ConfigError if it is neither."""
    names = [
        name for name in yaml_files.choices("data", *([config_dir] if config_dir else [])) if name not in OWN_FILES
    ]
    if word in names:
        return word
    path = expand_path("--data ", word) if word else Path("folder")
    if word not in OWN_FILES and (path.is_dir() or (path.suffix == ".npz" and path.is_file())):
        return str(path.resolve())
    raise ConfigError(
        f"--data {show(word) or chr(39) * 2}: not a data set, a folder of images or an .npz file."
        + (suggest(word, names) or f" Data sets: {', '.join(names)}.")
    )


def label(data: str) -> str:
    """'kmnist'; 'pictures-3f2a' for a path, with a hash, since other folders may have the same name."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", Path(data).stem.lower())[:40].strip("-")
    return plain if plain == data else f"{plain}-{hashlib.sha256(data.encode(errors='replace')).hexdigest()[:4]}"


def own_data(claim: Claim) -> str:
    """The data set of a claim's base."""
    named = [value for key, value in _split(claim.sweep.base if claim.sweep else ()) if key == "data"]
    return named[-1] if named else str(yaml_files.default_choice("data"))


def on_data(claim: Claim, data: str) -> Claim:
    """The claim with the data of all runs replaced. data: as from find_data.

    Other keys of the data stay. Runs are augmented as is usual for the new data if they were augmented before, else not at all.
    Raises ConfigError if the claim has no data, compares data sets, or sets a key that the new data doesn't have, and if
    another package has the data and can't be used.
    """
    if claim.sweep is None:
        raise ConfigError(f"{claim.name} is computed, not trained, and has no data to replace.")
    sweep, before = claim.sweep, own_data(claim)
    if data == before:
        raise ConfigError(f"{claim.name} is on {data} already; leave out --data.")
    is_path = Path(data).is_absolute()
    name = ("npz" if data.endswith(".npz") else "folder") if is_path else data
    base = dict(_split(sweep.base))
    parts = [*sweep.arms.values(), *(overrides for axis in sweep.axes.values() for overrides in axis.values())]
    varied = dict(_split(itertools.chain.from_iterable(parts)))
    if "data" in varied:
        raise ConfigError(f"{claim.name} compares data sets, so it can't be run on another one.")
    DATA.get(name)  # raises for one of another package that can't be used
    keys = yaml_files.choice("data", name)  # empty for the user's own file, which is checked with the runs
    for key in (key for key in (*base, *varied) if key.startswith("data.") and keys):
        if key.removeprefix("data.") not in keys:
            raise ConfigError(f"{claim.name} sets {key}, which data={name} doesn't have.")
    usual, new = (str(yaml_files.choice("data", of).get("augment")) for of in (before, name))
    augmented = base.pop("data.augment", usual) != "[]" or new == "[]"
    base |= (
        {"data": name}
        | ({"data.path": quoted(data)} if is_path else {})
        | ({} if augmented else {"data.augment": "[]"})
    )
    return replace(
        claim,
        name=f"{claim.name}{SEPARATOR}{label(data)}",
        data=data,
        statement=f"{claim.statement.removesuffix('.')} (on {data_name(data)}).",
        sweep=replace(sweep, base=tuple(f"{key}={value}" for key, value in base.items())),
    )


def _split(overrides: Iterable[str]) -> Iterable[tuple[str, str]]:
    return ((key, value) for key, _, value in (override.partition("=") for override in overrides))
