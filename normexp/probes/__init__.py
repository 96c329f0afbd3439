"""The probes: for each, what it measures. One file a probe, named as its switch in configs/probe/.

Only names are known here: a probe's file imports torch, and is not loaded until a network is there to look at.
"""

from __future__ import annotations

import importlib
from dataclasses import field, make_dataclass
from typing import TYPE_CHECKING

from normexp.config import ProbeConfig
from normexp.registry import names

if TYPE_CHECKING:
    from normexp.probes.base import Probe

PROBES = names(
    __path__,
    order=(
        "activations",
        "saturation",
        "drift",
        "jumps",
        "gradients",
        "updates",
        "noise",
        "affine",
        "batch_statistics",
    ),
)

Switches: type[ProbeConfig] = make_dataclass(
    "Switches", [(name, bool, field()) for name in PROBES], bases=(ProbeConfig,), frozen=True, kw_only=True
)
"""The config of all probes, with a switch for each."""


def switched_on(config: ProbeConfig) -> list[str]:
    """The names of the probes that a config asks for."""
    return [name for name in PROBES if getattr(config, name)]


def load(name: str) -> type[Probe]:
    """A probe's class."""
    from normexp.probes.base import Probe

    kind = importlib.import_module(f"{__name__}.{name}").ENTRY
    assert isinstance(kind, type)
    assert issubclass(kind, Probe)
    return kind
