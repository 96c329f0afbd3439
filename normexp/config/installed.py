"""Components of other installed packages, such as norm=mine, by their entry points. Finds them without importing anything."""

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from normexp.config.messages import ConfigError, printable, show
from normexp.config.schema import Config

ENTRY_POINTS = {
    "normexp.norms": "norm",
    "normexp.models": "model",
    "normexp.data": "data",
    "normexp.activations": "activation",
    "normexp.probes": "probe",
}
"""Group of the config, or key, by group of entry points."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
"""Names that components can have. They become names of folders, keys and parts of tags."""


@dataclass(frozen=True)
class Component:
    """An entry point, `name = module:attribute`, in the group of a config's group; and the package that has it."""

    group: str
    name: str
    module: str
    attribute: str
    package: str
    version: str

    @property
    def label(self) -> str:
        """Its name in configs: norm=mine, or probe.mine."""
        return label(self.group, self.name)

    @property
    def origin(self) -> str:
        """'norm=mine of the package my-norms 1.0'."""
        return f"{self.label} of the package {self.package} {self.version}"

    @property
    def config_file(self) -> Path | None:
        """Its yaml file, configs/GROUP/NAME.yaml in the package's folder, whether it exists or not. None for a single module."""
        paths = [Path(folder, "configs", self.group, f"{self.name}.yaml") for folder in self._folders()]
        return next(filter(Path.is_file, paths), paths[0] if paths else None)

    @property
    def source_file(self) -> Path | None:
        """The module's file. None for a single module."""
        bases = [Path(folder, *self.module.split(".")[1:]) for folder in self._folders()]
        paths = [path for base in bases for path in (base / "__init__.py", base.with_name(f"{base.name}.py"))]
        return next(filter(Path.is_file, paths), None)

    def _folders(self) -> list[str]:
        """Folders of the package, by what Python knows without importing it; several for a namespace package."""
        # If the module is missing or strange, `load` says so.
        with suppress(ImportError, ValueError, AttributeError):
            spec = importlib.util.find_spec(self.module.partition(".")[0])
            return list(spec.submodule_search_locations or []) if spec else []
        return []

    def load(self) -> Any:
        """Import it. Raises ConfigError, with the package's name, if that fails."""
        try:
            value: Any = importlib.import_module(self.module)
            for part in filter(None, self.attribute.split(".")):
                value = getattr(value, part)
            return value
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}".strip().rstrip(".:")
            raise ConfigError(
                f"{self.origin} can't be imported ({show(reason, 200)}): update, repair or uninstall the package."
            ) from error


def check_name(name: object, called: str) -> None:
    """Raise ConfigError if a component can't have this name."""
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ConfigError(
            f"{called}: its name is {show(name)}, but a name has lower-case letters, digits and _, and begins with a letter."
        )


def label(group: str, name: str) -> str:
    """norm=mine, or probe.mine: a probe is a switch."""
    return printable(f"probe.{name}" if group == "probe" else f"{group}={name}")


@cache
def components() -> dict[tuple[str, str], list[Component]]:
    """All components of other packages, by group and name. Several packages may have the same."""
    # importlib.metadata takes 25 ms, a sixth of the time of `normexp --help`; reading the files takes one.
    found: dict[tuple[str, str], list[Component]] = {}
    packages: set[str] = set()
    for folder in dict.fromkeys(sys.path):
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in sorted(
                (e for e in entries if e.name.endswith((".dist-info", ".egg-info"))), key=lambda e: e.name
            ):
                package = re.sub(r"[-_.]+", "_", entry.name.rpartition(".")[0].partition("-")[0]).lower()
                if package not in packages:  # as Python does: the first one of a name is imported
                    packages.add(package)
                    for component in _components(Path(entry.path)):
                        found.setdefault((component.group, component.name), []).append(component)
    return found


def _components(folder: Path) -> Iterator[Component]:
    """The components in the metadata of a package."""
    try:
        content = (folder / "entry_points.txt").read_bytes()
    except OSError:
        return
    if b"[normexp." not in content:
        return
    stem = folder.stem.split("-")
    named = {"Name": stem[0], "Version": stem[1] if len(stem) > 1 else "of unknown version"}
    for file in ("PKG-INFO", "METADATA"):
        with suppress(OSError):
            text = (folder / file).read_text(encoding="utf-8", errors="replace")
            named |= dict(re.findall(r"^(Name|Version): *(\S+)$", text.partition("\n\n")[0], re.MULTILINE))
    group = None
    for line in content.decode(errors="replace").splitlines():
        if heading := re.fullmatch(r"\s*\[(.+)\]\s*", line):
            group = ENTRY_POINTS.get(heading[1].strip())
        elif group and (
            match := re.fullmatch(r"\s*([^\s=#;]+)\s*=\s*([\w.]+)\s*(?::\s*([\w.]+))?\s*(\[.*\])?\s*", line)
        ):
            yield Component(group, match[1], match[2], match[3] or "", named["Name"], named["Version"])


def names(group: str) -> list[str]:
    """Names of a group's components in other packages."""
    return sorted(name for of, name in components() if of == group)


def probes() -> list[str]:
    """Names of probes in other packages that can be keys of a config."""
    return [name for name in names("probe") if NAME.fullmatch(name)]


def find(group: str, name: str, *, shipped: bool = False) -> Component | None:
    """The component of another package. shipped: whether normexp has one of this name. Raises ConfigError if several have it."""
    found = components().get((group, name), [])
    if len(found) + shipped > 1:
        kind = "data set" if group == "data" else group
        owners = ["normexp"] * shipped + [f"the package {each.package} {each.version}" for each in found]
        raise ConfigError(
            f"{label(group, name)} is ambiguous: {' and '.join(owners)} have a {kind} of this name. Uninstall "
            f"{'the package' if len(found) == 1 else 'all but one of the packages'}."
        )
    return found[0] if found else None


def config_file(group: str, name: str) -> Path | None:
    """The yaml file of a component of another package."""
    found = components().get((group, name), [])
    return found[0].config_file if found else None


def used_in(config: Config) -> list[Component]:
    """The components of other packages that a config chooses."""
    chosen = [(group, getattr(config, group).name) for group in ("model", "norm", "data")]
    chosen += [("activation", config.activation)]
    chosen += [("probe", name) for name in probes() if getattr(config.probe, name, False) is True]
    return [each for key in chosen for each in components().get(key, [])[:1]]
