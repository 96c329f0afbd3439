"""Probes: measurements inside the network. One file per probe, named like its switch in configs/probe/.

A probe's file imports torch, so it is loaded late: here, only the names are known.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.config import ConfigError, ProbeConfig, installed, show
from normexp.registry import keys_of, names

if TYPE_CHECKING:
    import ast

    from normexp.probes.base import Probe

ORDER = (
    *("activations", "saturation", "linearity", "drift", "jumps", "gradients", "updates", "noise", "affine"),
    "batch_statistics",
)
"""Order in charts and reports. Other probes follow by name."""

SHIPPED = names(__path__, order=ORDER)

PROBES = [*SHIPPED, *sorted(set(installed.probes()) - {*SHIPPED, *(field.name for field in fields(ProbeConfig))})]

_registered: dict[str, type[Probe]] = {}


def switches() -> type[ProbeConfig]:
    """Config class of the group `probe`: ProbeConfig with a switch for each probe, off in configs that were stored before it
    existed."""
    fields = [(name, bool, False) for name in PROBES]
    return make_dataclass("Switches", fields, bases=(ProbeConfig,), frozen=True, kw_only=True)


def register(name: str, probe: type[Probe]) -> None:
    """Add a probe while Python runs, or replace one that was added."""
    _registered[name] = probe
    if name not in PROBES:
        PROBES.append(name)


def switched_on(config: ProbeConfig) -> list[str]:
    """Names of the probes that the config switches on."""
    return [name for name in PROBES if getattr(config, name, False)]


def load(name: str) -> type[Probe]:
    """Import a probe's class. Raises ConfigError for one of another package that can't be used."""
    if name in _registered:
        return _registered[name]
    try:
        component = installed.find("probe", name, shipped=name in SHIPPED)
        if component is not None:
            return _load_installed(component)
    except ConfigError as error:
        raise ConfigError(f"{error} To train without it: probe.{name}=false") from error
    probe: type[Probe] = importlib.import_module(f"{__name__}.{name}").ENTRY
    check(probe, name)
    return probe


def _load_installed(component: installed.Component) -> type[Probe]:
    probe: type[Probe] = component.load()
    check(probe, component.origin)
    if [*keys_of(component)] != [component.name]:
        line = f"{component.name}: true  # what it measures"
        raise ConfigError(f"{component.origin}: {show(component.config_file, 200)} must be one line, such as '{line}'.")
    return probe


def check(probe: object, called: str) -> None:
    """Raise ConfigError if something is not a probe. called: what the message calls it."""
    from normexp.probes.base import Probe

    if not (isinstance(probe, type) and issubclass(probe, Probe)):
        raise ConfigError(f"{called} must be a subclass of normexp.probes.base.Probe, not {show(probe)}.")


def check_installed(configs: Iterable[ProbeConfig]) -> None:
    """Import the probes of other packages that any of the configs switches on. Raises ConfigError if one can't be used. Imports
    torch if there are any."""
    if others := {*installed.names("probe")}:
        for name in others & {name for config in configs for name in switched_on(config)}:
            load(name)


def meanings() -> dict[str, str]:
    """Meanings of all probes' metrics, by tag. Parsed from the source, because importing a probe imports torch."""
    import ast  # late, to keep --help fast

    collected: dict[str, str] = {}
    for name in PROBES:
        if name in _registered:
            collected |= _registered[name].meanings
            continue
        for node in ast.walk(_source(name)):
            match node:
                case (
                    ast.AnnAssign(target=ast.Name("meanings"), value=ast.Dict() as value)
                    | ast.Assign(targets=[ast.Name("meanings")], value=ast.Dict() as value)
                ):
                    with suppress(ValueError):  # not a literal, in another package
                        collected |= ast.literal_eval(value)
    return collected


def _source(name: str) -> ast.Module:
    """The parsed file of a probe; empty if that of another package can't be read."""
    import ast

    if name in SHIPPED:
        return ast.parse(Path(__path__[0], f"{name}.py").read_text(encoding="utf-8"))
    with suppress(ConfigError, OSError, ValueError, SyntaxError):
        component = installed.find("probe", name)
        if component and (file := component.source_file):
            return ast.parse(file.read_text(encoding="utf-8"))
    return ast.Module([], [])
