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
    for module in pkgutil.iter_modules(path):
        if module.name not in helpers:
            entry = importlib.import_module(f"{package}.{module.name}").ENTRY
            assert isinstance(entry, kind), f"{package}.{module.name}.ENTRY must be a {kind.__name__}"
            found[entry.name] = entry  # type: ignore[attr-defined]
    first = [name for name in order if name in found]
    return {name: found[name] for name in [*first, *sorted(found.keys() - set(first))]}
