"""The folder configs/: its location, groups, choices and defaults."""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from normexp.config import GROUPS


def folder() -> Path:
    """configs/: next to the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).parents[1]
    in_checkout = (package.parent / "pyproject.toml").is_file() and (package.parent / "configs").is_dir()
    return (package.parent if in_checkout else package) / "configs"


_registered: list[Path] = []


def register(root: Path) -> None:
    """Add a folder of the layout of configs/, whose files take precedence over those there."""
    if root not in _registered:
        _registered.insert(0, root)


def roots() -> list[Path]:
    """Registered folders and configs/, in order of precedence."""
    return [*_registered, folder()]


def choices(group: str, *more: Path) -> list[str]:
    """Names of a group's choices, in configs/, in registered folders and in more folders of the same layout."""
    paths = [path for root in (*roots(), *more) for path in (root / group).glob("*.yaml")]
    return sorted({path.stem for path in paths if is_choice(path)})


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


@cache
def default_choice(group: str) -> str | None:
    """A group's choice in the defaults list of train.yaml."""
    # By a search, since importing yaml takes longer than everything else in --help.
    entry = re.search(
        rf"^  - {group}: (?!null$)(.+)", (folder() / "train.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )
    return entry and entry[1]


def choice(group: str, name: str) -> dict[str, Any]:
    """Keys of a shipped or registered choice, with those that it inherits (`defaults: [other]`). Empty for a file in
    --config-dir."""
    from omegaconf import OmegaConf

    paths = (root / group / f"{name}.yaml" for root in roots())
    path = next(filter(Path.is_file, paths), None)
    content = {} if path is None else OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    keys = {str(key): value for key, value in content.items()}
    for other in keys.pop("defaults", []):
        keys = {**choice(group, other), **keys}
    return keys


def differences(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config (nested mappings) that differ from the defaults. A group with another choice than the default
    appears with its name and with the keys that differ from that choice's file."""
    from omegaconf import OmegaConf

    top = OmegaConf.create({key: value for key, value in root().items() if key not in ("defaults", "hydra")})
    defaults = OmegaConf.to_container(top, resolve=True)
    assert isinstance(defaults, dict)
    defaults["own_choices"] = []
    changes: dict[str, Any] = {}
    for key, value in config.items():
        if key in GROUPS:
            changed = _changed(value, choice(key, value["name"]))
            if value["name"] != default_choice(key):
                changed = {"name": value["name"], **changed}
            if changed:
                changes[key] = changed
        else:
            changes |= _changed({key: value}, defaults)
    return changes


def _changed(values: Mapping[str, Any], defaults: Mapping[Any, Any]) -> dict[str, Any]:
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return {key: value for key, value in values.items() if key not in defaults or plain[key] != defaults[key]}
