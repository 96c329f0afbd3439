"""Collect the components of a package of normexp, one file each, without a list to maintain, and those of other packages."""

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from normexp.config import ConfigError, installed, show, yaml_files

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """The components of a group of the config, by name: those of normexp, in order, and those of other packages, by name.

    A component of another package is imported when it is first used, which raises ConfigError if it can't be. `loaded` are the
    others, and those that were imported so far. base: the class from which config classes inherit.
    """

    def __init__(self, group: str, shipped: Mapping[str, T], kind: type[T], base: type) -> None:
        self.group, self.kind, self.base = group, kind, base
        self.loaded = dict(shipped)
        self._shipped = frozenset(shipped)

    def __getitem__(self, name: str) -> T:
        component = installed.find(self.group, name, shipped=name in self._shipped)
        if name not in self.loaded and component is not None:
            self.loaded[name] = self._load(component)
        return self.loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self.loaded or name in installed.names(self.group)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.loaded, *installed.names(self.group)]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _load(self, component: installed.Component) -> T:
        entry: Any = component.load()
        self.check(entry, component.origin)
        if entry.name != component.name:
            raise ConfigError(
                f"{component.origin}: its entry is named {show(entry.name)}; both names must be the same."
            )
        keys = keys_of(component)
        fields = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(entry.config)}
        unknown = [key for key in keys if key not in fields]
        missing = [key for key, required in fields.items() if required and key not in keys]
        problem = None
        if keys.get("name") != component.name:
            problem = f"must have the line 'name: {component.name}'"
        elif yaml_files.explained(component.group, component.name).keys() != keys.keys():
            problem = "must have one line per key, as in 'eps: 1.0e-5  # meaning'"
        elif unknown:
            problem = f"has the key {show(unknown[0])}, which {entry.config.__name__} lacks"
        elif missing:
            problem = f"lacks the key {missing[0]} of {entry.config.__name__}"
        if problem:
            raise ConfigError(f"{component.origin}: {show(component.config_file, 200)} {problem}.")
        checked: T = entry
        return checked

    def check(self, entry: Any, called: str) -> None:
        """Raise ConfigError if an entry is unsuitable. called: what messages call it."""
        if not isinstance(entry, self.kind):
            kind = f"{self.kind.__module__}.{self.kind.__name__}"
            raise ConfigError(f"{called} must be a {kind}, not {show(type(entry).__name__)}.")
        name, config = entry.name, entry.config  # type: ignore[attr-defined]
        installed.check_name(name, called)
        if not (isinstance(config, type) and issubclass(config, self.base) and "__dataclass_fields__" in vars(config)):
            raise ConfigError(f"{called}: its config must be a dataclass that inherits from {self.base.__name__}.")


def keys_of(component: installed.Component) -> dict[str, Any]:
    """The keys of a component's yaml file, with those that it inherits. Raises ConfigError if there is no valid file."""
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = component.config_file
    if path is None or not path.is_file():
        place = f"configs/{component.group}/{component.name}.yaml"
        where = f"the folder {path.parents[2]}" if path else f"{component.module}, which is not a folder"
        raise ConfigError(f"{component.origin} has no yaml file {place} in {show(where, 200)}.")
    try:
        return yaml_files.choice(component.group, component.name)
    except (YAMLError, OmegaConfBaseException, ValueError, TypeError, AssertionError, RecursionError, OSError) as error:
        raise ConfigError(f"{component.origin}: {show(path, 200)} can't be read as keys and values.") from error


def collect(package: str, path: Iterable[str], kind: type[T], *, order: Sequence[str] = ()) -> dict[str, T]:
    """The ENTRY of each component of a package, by entry.name: those in `order` first, then the others by name. Reads only the
    package's own folder: nothing is imported because a config names it."""
    entries: dict[str, T] = {}
    for module in names(path):
        entry = importlib.import_module(f"{package}.{module}").ENTRY
        assert isinstance(entry, kind), f"{package}.{module}.ENTRY must be a {kind.__name__}"
        entries[entry.name] = entry  # type: ignore[attr-defined]
    return {name: entries[name] for name in _ordered(entries, order)}


def names(path: Iterable[str], *, order: Sequence[str] = ()) -> list[str]:
    """Names of the components of a package, the modules that define an ENTRY. Does not import them."""
    components = []
    for folder in path:
        for module in pkgutil.iter_modules([folder]):
            file = Path(folder, module.name, "__init__.py") if module.ispkg else Path(folder, f"{module.name}.py")
            if re.search(r"^ENTRY\b", file.read_text(encoding="utf-8"), re.MULTILINE):
                components.append(module.name)
    return _ordered(components, order)


def _ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))
