"""Collect the components of a package: one file each, without a list to maintain."""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


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
