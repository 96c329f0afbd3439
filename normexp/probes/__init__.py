"""Probes: measurements inside the network. One file per probe, named like its switch in configs/probe/.

Only the names are known here. A probe's file imports torch and is loaded when the network is built.
"""

from __future__ import annotations

import importlib
from dataclasses import make_dataclass
from typing import TYPE_CHECKING

from normexp.config import ProbeConfig
from normexp.registry import names

if TYPE_CHECKING:
    from normexp.probes.base import Probe

ORDER = ("activations", "saturation", "drift", "jumps", "gradients", "updates", "noise", "affine", "batch_statistics")
"""Order of the charts and reports. Other probes follow by name."""

PROBES = names(__path__, order=ORDER)

Switches: type[ProbeConfig] = make_dataclass(
    "Switches", [(name, bool) for name in PROBES], bases=(ProbeConfig,), frozen=True, kw_only=True
)
"""Config of the group `probe`: ProbeConfig with a switch for each probe."""


def switched_on(config: ProbeConfig) -> list[str]:
    """Names of the probes that a config switches on."""
    return [name for name in PROBES if getattr(config, name)]


def load(name: str) -> type[Probe]:
    """Import a probe's class."""
    from normexp.probes.base import Probe

    probe = importlib.import_module(f"{__name__}.{name}").ENTRY
    assert isinstance(probe, type) and issubclass(probe, Probe)
    return probe
