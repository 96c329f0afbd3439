"""Movement of each unit's own mean during training: the shift that batch norm is said to remove."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from normexp.probes.base import Measurements, Probe, Recorder
from normexp.probes.batch_statistics import batch_moments
from normexp.probes.distribution import Floats

MIN_RELATIVE_STD = 1e-6  # channels with a smaller std / mean are constant up to float32 rounding


class Jumps(Probe):
    """Movement of the mean of each channel (or feature) of the activation's inputs, averaged over channels. Mean and standard
    deviation are per channel, over the whole batch.

    jump/LAYER: |mean - mean at the previous snapshot| / standard deviation at the previous snapshot.
    unit_drift/LAYER: |mean - mean at step 0| / sqrt((variance + variance at step 0) / 2). The pooled standard deviation is that
    of Cohen's d: networks that start narrow and networks that start wide are measured alike.

    Unlike drift, which treats a layer as one distribution, they detect channels that move in opposite directions. Batch means
    fluctuate anyway: with n independent values per channel, by 1.13 / sqrt(n) on average between two batches. Undefined if all
    channels were constant; jump also at the first snapshot.
    """

    titles: ClassVar = {
        "jump": "shift of the unit means since the previous snapshot, in standard deviations",
        "unit_drift": "shift of the unit means since step 0, in pooled standard deviations",
    }
    meanings: ClassVar = {
        "jump/LAYER": "shift of the channel means of the activation's inputs since the previous snapshot, in stds",
        "unit_drift/LAYER": "shift of the channel means of the activation's inputs since step 0, in pooled stds",
    }

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.last = {"first": {}, "last": {}}  # means and stds of the channels by layer, at step 0 and most recently

    def before_forward(self, recorder: Recorder) -> None:
        for name, activation in self.activations.items():
            recorder.on_input(activation, partial(_record_moments, recorder, name))

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        first, last = self.last["first"], self.last["last"]
        for name in self.layers:
            moments = recorder.arrays.get(f"_jumps/{name}")
            if moments is None or not np.isfinite(moments).all():
                continue
            # (calls, 3, C): the activation may be called more than once in a pass, with batches of any size.
            count, means, variances = moments.astype(np.float64).swapaxes(0, 1)
            if count[:, 0].sum() < 2:
                continue
            mean = (count * means).sum(axis=0) / count.sum(axis=0)
            std = np.sqrt((count * (variances + (means - mean) ** 2)).sum(axis=0) / count.sum(axis=0))
            now = mean.tolist(), std.tolist()
            if recorder.step.number == 1:
                first[name] = now
            if name in last:
                scalars[f"jump/{name}"] = _shift(mean, *map(np.array, last[name]))
            if name in first:
                mean_before, std_before = map(np.array, first[name])
                pooled = np.sqrt((std**2 + std_before**2) / 2) if len(std) == len(std_before) else std_before
                scalars[f"unit_drift/{name}"] = _shift(mean, mean_before, pooled)
            last[name] = now
        return Measurements(scalars)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        is_current = isinstance(state.get("last"), Mapping)
        # Checkpoints of version 0.2 have the previous snapshot alone, so unit_drift is left out.
        super().load_state_dict(state if is_current else {"first": {}, "last": dict(state)})


def _shift(mean: Floats, before: Floats, std: Floats) -> float | None:
    """Mean of |mean - before| / std over the channels, (C,) each, that were not constant. None if there are none, or if their
    number has changed."""
    if len(before) != len(mean):
        return None
    varied = std > MIN_RELATIVE_STD * np.abs(before)
    return float((np.abs(mean - before)[varied] / std[varied]).mean()) if varied.any() else None


def _record_moments(recorder: Recorder, name: str, inputs: Tensor) -> None:
    """Record (1, 3, C): count, mean and biased variance of each channel of the input (B, C, ...)."""
    values = inputs.detach()
    mean, var = batch_moments(values if values.dtype == torch.float64 else values.float())
    n = values.numel() // values.shape[1]
    biased = var * ((n - 1) / n) if n > 1 else torch.zeros_like(mean)  # of a single value, var is undefined
    recorder.record_array(f"_jumps/{name}", torch.stack([torch.full_like(mean, n), mean, biased])[None])


ENTRY = Jumps
