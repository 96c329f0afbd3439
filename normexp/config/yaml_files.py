"""The folder configs/: its location, groups, choices and defaults."""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from normexp.config import GROUPS, installed


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


def path(group: str, name: str) -> Path | None:
    """The yaml file of a choice that is registered, shipped or of another package. Not of a file in --config-dir."""
    paths = (root / group / f"{name}.yaml" for root in roots())
    return next(filter(Path.is_file, paths), None) or installed.config_file(group, name)


def choices(group: str, *more: Path) -> list[str]:
    """Names of a group's choices: in configs/, registered, of other packages, and in more folders of the layout of configs/."""
    paths = [path for root in (*roots(), *more) for path in (root / group).glob("*.yaml")]
    others = installed.names(group) if group != "probe" else []  # these are switches
    return sorted({*others, *(path.stem for path in paths if is_choice(path))})


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


LINE = re.compile(r"^(?P<key>[a-z_0-9]+):\s*(?P<value>.*?)\s*(?:#\s*(?P<comment>.*))?$")


def explained(group: str, name: str) -> dict[str, tuple[str, str]]:
    """Default and comment of each line `key: value  # comment` at the top of a choice's yaml file.

    A line `defaults: [other]` includes the keys of a shipped file. Without a group, the keys of train.yaml.
    """
    file = path(group, name)
    return {} if file is None else {**_lines(file, group), **added_switches(file)}


def _lines(file: Path, group: str) -> dict[str, tuple[str, str]]:
    keys: dict[str, tuple[str, str]] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if is_choice(file) else ():
        match = LINE.match(line)
        if match and match["key"] == "defaults":
            for other in re.findall(r"\w+", match["value"]):
                keys |= explained(group, other) if (folder() / group / f"{other}.yaml").is_file() else {}
        elif match and match["value"]:
            # The default, used if the environment variable is not set.
            value = re.sub(r"^\$\{oc\.env:\w+,(.*)\}$", r"\1", match["value"])
            keys[match["key"]] = value, match["comment"] or ""
    return keys


_registered_switches: list[str] = []


def register_switch(probe: str) -> None:
    """Add a switch to the choices of `probe`, for a registered probe."""
    if probe not in _registered_switches:
        _registered_switches.append(probe)


def added_switches(file: Path) -> dict[str, tuple[str, str]]:
    """Default and comment of the switches that registered probes, which are on, and those of other packages add to the choices
    `default` and `off` of `probe`. A package's file is a line `NAME: true  # comment`; without one, its probe is off."""
    if file.stem not in ("default", "off") or file.parent != folder() / "probe":
        return {}
    switches = dict.fromkeys(_registered_switches, ("true", ""))
    for name in set(installed.probes()) - _lines(file.with_name("default.yaml"), "probe").keys():
        own = installed.config_file("probe", name)
        value, comment = (_lines(own, "probe") if own else {}).get(name, ("false", ""))
        switches[name] = str(value == "true").lower(), comment
    return {
        name: (value if file.stem == "default" else "false", why) for name, (value, why) in sorted(switches.items())
    }


def choice(group: str, name: str) -> dict[str, Any]:
    """Keys of a shipped, registered or installed choice, with those that it inherits (`defaults: [other]`). Empty for a file in
    --config-dir."""
    from omegaconf import OmegaConf

    file = path(group, name)
    content = OmegaConf.to_container(OmegaConf.load(file)) if file and file.is_file() else {}
    assert isinstance(content, dict)
    keys = {str(key): value for key, value in content.items()}
    if file:
        keys |= {key: value == "true" for key, (value, _) in added_switches(file).items()}
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
