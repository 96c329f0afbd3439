"""How far each unit's own mean moves between snapshots: the shift that batch norm is said to remove."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normexp.config import ProbeConfig
from normexp.probes.base import Findings, Probe, Watched
from normexp.probes.batch_statistics import batch_moments
from normexp.probes.recorder import Look

ROUNDING = 1e-6
"""A standard deviation below this part of the mean is rounding in float32: the channel is constant."""

Moments = tuple[list[float], list[float]]
"""Mean and standard deviation of each unit."""


class Jumps(Probe):
    """jump/LAYER: the mean over channels (or features) of |mean - mean at the previous snapshot| / standard deviation at the
    previous snapshot, of what enters the activation. Mean and standard deviation are the channel's own, over the whole batch.

    Unlike drift, which sees a layer as one distribution, it sees channels that move in opposite directions. The mean over a
    batch varies by itself: with n independent values a channel, by 1.13 / sqrt(n) on average between two batches. Not defined
    at the first snapshot, nor if no channel varied.
    """

    titles: ClassVar = {
        "jump": "movement of the units' means since the previous snapshot, in their standard deviations",
    }

    def __init__(self, network: Mapping[str, Watched], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._last: dict[str, Moments] = {}

    def before(self, look: Look) -> None:
        for name, layer in self.layers.items():
            if layer.activation is not None:
                look.hook(layer.activation.register_forward_pre_hook(partial(_keep_moments, look, name)))

    def report(self, look: Look) -> Findings:
        scalars: dict[str, float | None] = {}
        for name in self.layers:
            found = look.arrays.get(f"_jumps/{name}")
            if found is None or not np.isfinite(found).all():
                continue
            # (uses, 3, C): the activation may be used more than once in a pass, on batches of any size.
            count, means, squares = found.astype(np.float64).swapaxes(0, 1)
            mean = (count * means).sum(axis=0) / count.sum(axis=0)
            std = np.sqrt((count * (squares + (means - mean) ** 2)).sum(axis=0) / count.sum(axis=0))
            if name in self._last:
                scalars[f"jump/{name}"] = _moved(mean, *self._last[name])
            self._last[name] = mean.tolist(), std.tolist()
        return Findings(scalars)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._last)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._last = {name: (list(mean), list(std)) for name, (mean, std) in state.items()}


def _keep_moments(look: Look, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """A forward pre-hook: keep number, mean and biased variance of each channel of the input (B, C, ...)."""
    if isinstance(inputs[0], Tensor) and inputs[0].numel() > inputs[0].shape[1]:
        values = inputs[0].detach()
        mean, var = batch_moments(values if values.dtype == torch.float64 else values.float())
        n = values.numel() // values.shape[1]
        look.keep_array(f"_jumps/{name}", torch.stack([torch.full_like(mean, n), mean, var * ((n - 1) / n)])[None])


def _moved(mean: NDArray[np.float64], was: list[float], std: list[float]) -> float | None:
    before, width = np.array(was), np.array(std)
    varied = width > ROUNDING * np.abs(before)
    if len(was) != len(mean) or not varied.any():
        return None
    return float((np.abs(mean - before)[varied] / width[varied]).mean())


ENTRY = Jumps
