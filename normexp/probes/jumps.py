"""Movement of each unit's own mean between snapshots: the shift that batch norm is said to remove."""

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from normexp.probes.base import Measurements, Probe, Recorder
from normexp.probes.batch_statistics import batch_moments

MIN_RELATIVE_STD = 1e-6  # channels with a smaller std / mean are constant up to float32 rounding


class Jumps(Probe):
    """jump/LAYER: |mean - mean at the previous snapshot| / standard deviation at the previous snapshot, averaged over channels
    (or features), of the activation's inputs. Mean and standard deviation are per channel, over the whole batch.

    Unlike drift, which treats a layer as one distribution, it detects channels that move in opposite directions. Batch means
    fluctuate anyway: with n independent values per channel, by 1.13 / sqrt(n) on average between two batches. Undefined at the
    first snapshot, and if all channels were constant.
    """

    titles: ClassVar = {"jump": "shift of the unit means since the previous snapshot, in standard deviations"}
    meanings: ClassVar = {
        "jump/LAYER": "shift of the channel means of the activation's inputs since the previous snapshot, in stds",
    }

    def before_forward(self, recorder: Recorder) -> None:
        for name, activation in self.activations.items():
            recorder.add_hook(activation.register_forward_pre_hook(partial(_record_moments, recorder, name)))

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
            if name in self.last:
                mean_before, std_before = map(np.array, self.last[name])
                varied = std_before > MIN_RELATIVE_STD * np.abs(mean_before)
                comparable = len(mean_before) == len(mean) and varied.any()
                moved = np.abs(mean - mean_before)[varied] / std_before[varied] if comparable else None
                scalars[f"jump/{name}"] = None if moved is None else float(moved.mean())
            self.last[name] = mean.tolist(), std.tolist()
        return Measurements(scalars)


def _record_moments(recorder: Recorder, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Forward pre-hook: record (1, 3, C): count, mean and biased variance of each channel of the input (B, C, ...)."""
    if isinstance(inputs[0], Tensor) and inputs[0].numel() > inputs[0].shape[1]:
        values = inputs[0].detach()
        mean, var = batch_moments(values if values.dtype == torch.float64 else values.float())
        n = values.numel() // values.shape[1]
        moments = torch.stack([torch.full_like(mean, n), mean, var * ((n - 1) / n)])
        recorder.record_array(f"_jumps/{name}", moments[None])


ENTRY = Jumps
