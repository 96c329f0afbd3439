"""How far each unit's own statistics move from look to look: the shift that batch norm is said to take away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from normexp.config import ProbeConfig
from normexp.probes.base import Findings, Probe, Watched
from normexp.probes.look import Look

Moments = tuple[list[float], list[float]]
"""Mean and standard deviation of each unit."""


class Jumps(Probe):
    """jump/LAYER: the mean over channels (or features) of |mean - mean at the look before| / standard deviation at the look
    before, of what enters the activation: a channel's own two, over the sampled values.

    Unlike drift, which sees a layer as one distribution, it sees channels that move in opposite directions. Of few values a
    mean is uncertain, and moves by that alone: of n, by 1.13 / sqrt(n) on average. Not defined at the first look, nor where no
    channel varied.
    """

    titles: ClassVar = {
        "jump": "movement of the units' means since the look before, in their standard deviations",
    }

    def __init__(self, network: Mapping[str, Watched], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._last: dict[str, Moments] = {}

    def before(self, look: Look) -> None:
        for name, layer in self.layers.items():
            if layer.activation is not None:
                look.watch_input(f"activation_in/{name}", layer.activation)

    def report(self, look: Look) -> Findings:
        scalars: dict[str, float | None] = {}
        for name in self.layers:
            values = look.arrays.get(f"activation_in/{name}")
            if values is None or not np.isfinite(values).all():
                continue
            mean, std = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
            if name in self._last:
                scalars[f"jump/{name}"] = _moved(mean, *self._last[name])
            self._last[name] = mean.tolist(), std.tolist()
        return Findings(scalars)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._last)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._last = {name: (list(mean), list(std)) for name, (mean, std) in state.items()}


def _moved(mean: NDArray[np.float64], was: list[float], std: list[float]) -> float | None:
    width = np.array(std)
    varied = width > 0
    if len(was) != len(mean) or not varied.any():
        return None
    return float((np.abs(mean - np.array(was))[varied] / width[varied]).mean())


ENTRY = Jumps
