"""How a folder of components becomes a plain dictionary: one file a component, no list of them to keep."""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def collect(
    package: str, path: Iterable[str], kind: type[T], *, helpers: Iterable[str] = (), order: Iterable[str] = ()
) -> dict[str, T]:
    """{entry.name: entry} for the module-level `ENTRY` of every module of a package, its helpers left out.

    The names in `order` come first, the others by name. Only the package's own folder is read: nothing that a config
    names is ever imported.
    """
    found: dict[str, T] = {}
    for module in names(path, helpers=helpers):
        entry = importlib.import_module(f"{package}.{module}").ENTRY
        assert isinstance(entry, kind), f"{package}.{module}.ENTRY must be a {kind.__name__}"
        found[entry.name] = entry  # type: ignore[attr-defined]
    return {name: found[name] for name in _arranged(found, order)}


def names(path: Iterable[str], *, helpers: Iterable[str] = (), order: Iterable[str] = ()) -> list[str]:
    """The modules of a package, its helpers left out, without importing them."""
    return _arranged([module.name for module in pkgutil.iter_modules(path) if module.name not in helpers], order)


def _arranged(found: Iterable[str], order: Iterable[str]) -> list[str]:
    found = set(found)
    first = [name for name in order if name in found]
    return [*first, *sorted(found - set(first))]
