"""Movement of each unit's own mean between snapshots: the shift that batch norm is said to remove."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normexp.config import ProbeConfig
from normexp.probes.base import Measurements, Probe, ProbedLayer
from normexp.probes.batch_statistics import batch_moments
from normexp.probes.recorder import Recorder

MIN_RELATIVE_STD = 1e-6
"""A channel whose standard deviation is a smaller fraction of its mean is constant up to float32 rounding."""

Moments = tuple[list[float], list[float]]
"""Mean and standard deviation of each unit."""


class Jumps(Probe):
    """jump/LAYER: |mean - mean at the previous snapshot| / standard deviation at the previous snapshot, averaged over channels
    (or features), of the activation's inputs. Mean and standard deviation are per channel, over the whole batch.

    Unlike drift, which sees a layer as one distribution, it sees channels that move in opposite directions. The mean of a
    batch fluctuates anyway: with n independent values per channel, by 1.13 / sqrt(n) on average between two batches. Undefined
    at the first snapshot, and if all channels were constant.
    """

    titles: ClassVar = {
        "jump": "movement of the units' means since the previous snapshot, in their standard deviations",
    }

    def __init__(self, network: Mapping[str, ProbedLayer], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._last: dict[str, Moments] = {}

    def before_forward(self, recorder: Recorder) -> None:
        for name, layer in self.layers.items():
            if layer.activation is not None:
                recorder.add_hook(layer.activation.register_forward_pre_hook(partial(_record_moments, recorder, name)))

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        for name in self.layers:
            moments = recorder.arrays.get(f"_jumps/{name}")
            if moments is None or not np.isfinite(moments).all():
                continue
            # (calls, 3, C): the activation may be called more than once in a pass, with batches of any size.
            count, means, variances = moments.astype(np.float64).swapaxes(0, 1)
            mean = (count * means).sum(axis=0) / count.sum(axis=0)
            std = np.sqrt((count * (variances + (means - mean) ** 2)).sum(axis=0) / count.sum(axis=0))
            if name in self._last:
                scalars[f"jump/{name}"] = _moved(mean, *self._last[name])
            self._last[name] = mean.tolist(), std.tolist()
        return Measurements(scalars)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._last)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._last = {name: (list(mean), list(std)) for name, (mean, std) in state.items()}


def _record_moments(recorder: Recorder, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Forward pre-hook: record (1, 3, C): count, mean and biased variance of each channel of the input (B, C, ...)."""
    if isinstance(inputs[0], Tensor) and inputs[0].numel() > inputs[0].shape[1]:
        values = inputs[0].detach()
        mean, var = batch_moments(values if values.dtype == torch.float64 else values.float())
        n = values.numel() // values.shape[1]
        moments = torch.stack([torch.full_like(mean, n), mean, var * ((n - 1) / n)])
        recorder.record_array(f"_jumps/{name}", moments[None])


def _moved(mean: NDArray[np.float64], mean_before: list[float], std_before: list[float]) -> float | None:
    before, std = np.array(mean_before), np.array(std_before)
    varied = std > MIN_RELATIVE_STD * np.abs(before)
    if len(before) != len(mean) or not varied.any():
        return None
    return float((np.abs(mean - before)[varied] / std[varied]).mean())


ENTRY = Jumps
