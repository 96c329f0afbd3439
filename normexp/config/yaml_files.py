"""The folder configs/: where it is, which groups and choices it has, and what the defaults are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from normexp.config import GROUPS


def folder() -> Path:
    """configs/ beside the package in a checkout, inside it where it was installed from a wheel."""
    root = Path(__file__).parents[2]
    beside = root / "configs"
    return beside if (root / "pyproject.toml").is_file() and beside.is_dir() else Path(__file__).parents[1] / "configs"


def choices(group: str, *more: Path) -> list[str]:
    """The names of a group's files, in configs/ and in further folders of the same layout."""
    return sorted(
        {path.stem for root in (folder(), *more) for path in (root / group).glob("*.yaml") if is_choice(path)}
    )


def is_choice(path: Path) -> bool:
    """Whether a yaml file can be chosen. Hidden files, folders and links that lead nowhere can't: editors leave such behind."""
    return not path.name.startswith(".") and path.is_file() and os.access(path, os.R_OK)


@cache
def root() -> Mapping[str, Any]:
    """configs/train.yaml as it stands, with its interpolations unresolved."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C takes a tenth of the time, where it is there
    content = yaml.load((folder() / "train.yaml").read_text(encoding="utf-8"), Loader=loader)
    assert isinstance(content, dict)
    return content


def default_choice(group: str) -> str | None:
    """The choice that the root's defaults list has for a group."""
    return _default_choices().get(group)


@cache
def _default_choices() -> dict[str, str]:
    # Read without yaml, whose import takes longer than all else that --help does.
    lines = (folder() / "train.yaml").read_text(encoding="utf-8").splitlines()
    entries = (line.strip().removeprefix("- ").split(": ") for line in lines if line.startswith("  - "))
    return {entry[0]: entry[1] for entry in entries if len(entry) == 2 and entry[1] != "null"}


def choice(group: str, name: str) -> dict[str, Any]:
    """The keys of a shipped choice, with those of the choices that it takes over (`defaults: [other]`); empty for another's."""
    from omegaconf import OmegaConf

    path = folder() / group / f"{name}.yaml"
    own = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    assert isinstance(own, dict)
    taken: dict[str, Any] = {}
    for other in own.pop("defaults", []):
        taken |= choice(group, other)
    return {str(key): value for key, value in {**taken, **own}.items()}


def differences(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a whole config (as nested mappings) differs from the defaults.

    A group with another choice than the default is there with its name and with what differs from that choice's own file.
    """
    from omegaconf import OmegaConf

    top = OmegaConf.to_container(
        OmegaConf.create({k: v for k, v in root().items() if k not in ("defaults", "hydra")}), resolve=True
    )
    assert isinstance(top, dict)
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key in GROUPS:
            defaults = choice(key, value["name"])
            changed = {k: v for k, v in value.items() if k not in defaults or _plain(v) != defaults[k]}
            if value["name"] != default_choice(key):
                changed = {"name": value["name"], **changed}
            if changed:
                found[key] = changed
        elif _plain(value) != top[key]:
            found[key] = value
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
