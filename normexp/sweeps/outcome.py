"""What became of a run: whether it is done, whether it is still the one that is asked for, and what an optimizer is told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from normexp import NUMERICS, rundir
from normexp.config import NOT_OF_THE_RESULT, Config, show
from normexp.report.aggregate import higher_is_better
from normexp.rundir import atomic


def state(directory: Path) -> rundir.State | None:
    """The state of a run; None where nothing has been written, or nothing that can be read."""
    with suppress(OSError, ValueError):
        found: rundir.State = rundir.read_status(directory)["state"]
        return found
    return None


def ended(directory: Path) -> bool:
    """Whether a run needs no more training."""
    return state(directory) in ("completed", "diverged")


def worth_keeping(directory: Path) -> bool:
    """Whether a run has come so far that one with another config should not take its place."""
    return ended(directory) or any(directory.glob("checkpoint*.pt"))


def changes(directory: Path, config: Config) -> list[str]:
    """Where the run there differs from the one that is asked for: 'epochs (3, now 5)'. Empty if nowhere.

    Also if it was trained by a version of normexp whose numbers differ: 'numerics (1, now 2)'.
    """
    try:
        # A fraction of the time of the loader in Python: a sweep reads the configs of all its finished runs.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        stored = yaml.load((directory / "config.yaml").read_text(encoding="utf-8"), loader)
    except (OSError, yaml.YAMLError) as error:
        return [f"config.yaml ({type(error).__name__})"]
    old, new = flatten(stored if isinstance(stored, Mapping) else {}), flatten(dataclasses.asdict(config))
    version = rundir.numerics(directory)
    return [f"numerics ({version}, now {NUMERICS})"] * (version != NUMERICS) + [
        f"{key} ({show(old[key])}, now {show(new[key])})"
        for key in new
        if key in old and key not in NOT_OF_THE_RESULT and old[key] != new[key]
    ]


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{'norm': {'name': 'bn'}} as {'norm.name': 'bn'}, with lists for tuples."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": item for name, item in flatten(value).items()}
        else:
            flat[key] = list(value) if isinstance(value, tuple) else value
    return flat


def set_aside(directory: Path) -> Path:
    """Move a run out of the way of one with another config, into a folder that nothing reads; returns where it is."""
    aside = directory.parent / ".replaced"
    with atomic.writing(aside):
        aside.mkdir(exist_ok=True)
    taken = {path.name for path in aside.iterdir()}
    place = next(aside / name for n in range(1, 100_000) if (name := f"{directory.name}-{n}") not in taken)
    with atomic.writing(place):
        return directory.rename(place)


def objective(directory: Path, tag: str) -> float:
    """The value of a run's metric at its end; the worst there is of one that diverged, failed or can't be trained, and NaN of one
    that is not at its end."""
    try:
        status = rundir.read_status(directory)
    except (OSError, ValueError):
        return math.nan
    value = status["metrics"].get(tag)
    match status["state"]:
        case "completed" if value is not None:
            return float(value)
        case "running" | "interrupted":
            return math.nan
    return 0.0 if higher_is_better(tag) else math.inf
