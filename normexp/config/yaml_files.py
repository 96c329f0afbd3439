"""The folder configs/: its location, groups, choices and defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from normexp.config import GROUPS


def folder() -> Path:
    """configs/: next to the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).parents[1]
    checkout = package.parent
    in_checkout = (checkout / "pyproject.toml").is_file() and (checkout / "configs").is_dir()
    return (checkout if in_checkout else package) / "configs"


def choices(group: str, *more: Path) -> list[str]:
    """Names of a group's choices, in configs/ and in more folders of the same layout."""
    return sorted(
        {path.stem for root in (folder(), *more) for path in (root / group).glob("*.yaml") if is_choice(path)}
    )


def is_choice(path: Path) -> bool:
    """Whether a yaml file is a choice: not a hidden file, folder or broken link, which editors leave behind."""
    return not path.name.startswith(".") and path.is_file() and os.access(path, os.R_OK)


@cache
def root() -> Mapping[str, Any]:
    """configs/train.yaml, with its interpolations unresolved."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times as fast, if it is available
    content = yaml.load((folder() / "train.yaml").read_text(encoding="utf-8"), Loader=loader)
    assert isinstance(content, dict)
    return content


def default_choice(group: str) -> str | None:
    """A group's choice in the defaults list of train.yaml."""
    return _default_choices().get(group)


@cache
def _default_choices() -> dict[str, str]:
    # Parsed by hand, since importing yaml takes longer than everything else in --help.
    lines = (folder() / "train.yaml").read_text(encoding="utf-8").splitlines()
    entries = (line.strip().removeprefix("- ").split(": ") for line in lines if line.startswith("  - "))
    return {entry[0]: entry[1] for entry in entries if len(entry) == 2 and entry[1] != "null"}


def choice(group: str, name: str) -> dict[str, Any]:
    """Keys of a choice in configs/, with those that it inherits (`defaults: [other]`). Empty for a user's own choice."""
    from omegaconf import OmegaConf

    path = folder() / group / f"{name}.yaml"
    own = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    assert isinstance(own, dict)
    inherited: dict[str, Any] = {}
    for other in own.pop("defaults", []):
        inherited |= choice(group, other)
    return {str(key): value for key, value in {**inherited, **own}.items()}


def differences(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config (nested mappings) that differ from the defaults.

    A group with another choice than the default appears with its name and with the keys that differ from that choice's file.
    """
    from omegaconf import OmegaConf

    top = OmegaConf.to_container(
        OmegaConf.create({k: v for k, v in root().items() if k not in ("defaults", "hydra")}), resolve=True
    )
    assert isinstance(top, dict)
    changes: dict[str, Any] = {}
    for key, value in config.items():
        if key in GROUPS:
            defaults = choice(key, value["name"])
            changed = {k: v for k, v in value.items() if k not in defaults or _plain(v) != defaults[k]}
            if value["name"] != default_choice(key):
                changed = {"name": value["name"], **changed}
            if changed:
                changes[key] = changed
        elif _plain(value) != top[key]:
            changes[key] = value
    return changes


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
