"""Probes: measurements inside the network. One file per probe, named like its switch in configs/probe/.

A probe's file imports torch, so it is loaded late: here, only the names are known.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.config import ProbeConfig
from normexp.registry import names

if TYPE_CHECKING:
    from normexp.probes.base import Probe

ORDER = (
    *("activations", "saturation", "linearity", "drift", "jumps", "gradients", "updates", "noise", "affine"),
    "batch_statistics",
)
"""Order in charts and reports. Other probes follow by name."""

PROBES = names(__path__, order=ORDER)

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
    """Import a probe's class."""
    if name in _registered:
        return _registered[name]
    from normexp.probes.base import Probe

    probe = importlib.import_module(f"{__name__}.{name}").ENTRY
    assert isinstance(probe, type) and issubclass(probe, Probe)
    return probe


def meanings() -> dict[str, str]:
    """Meanings of all probes' metrics, by tag. Parsed from the source, because importing a probe imports torch."""
    import ast  # late, to keep --help fast

    collected: dict[str, str] = {}
    for name in PROBES:
        if name in _registered:
            collected |= _registered[name].meanings
            continue
        spec = importlib.util.find_spec(f"{__name__}.{name}")
        assert spec is not None and spec.origin is not None
        for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
            match node:
                case (
                    ast.AnnAssign(target=ast.Name("meanings"), value=ast.Dict() as value)
                    | ast.Assign(targets=[ast.Name("meanings")], value=ast.Dict() as value)
                ):
                    collected |= ast.literal_eval(value)
    return collected
