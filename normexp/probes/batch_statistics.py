"""Distance between batch statistics and running statistics, which replace them in evaluation."""

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from normexp.norms.brn_module import BatchRenorm
from normexp.norms.running import ghost_batches, running_moments
from normexp.probes.base import Measurements, Probe, Recorder, chunks
from normexp.records import Chart

CORRECTIONS = {"brn_r": "batch renorm's r", "brn_d": "batch renorm's d"}


class BatchStatistics(Probe):
    """For each norm with a running mean and variance, with those from before this batch:

    batch_mean_distance/LAYER: |batch mean - running mean| / sqrt(running variance + eps), averaged over channels.
    batch_var_ratio/LAYER: (batch variance + eps) / (running variance + eps), geometric mean over channels. The batch variance
    is the unbiased one, as in the running average. With ghost batches or micro-batches, both are averaged over them, too.
    brn_r/LAYER, brn_d/LAYER: histogram, mean and std over channels of the clipped factor and shift of `norm=brn`.

    If the first two are far from 0 and 1, the network computes something else in evaluation than in training.
    """

    meanings: ClassVar = {
        "batch_mean_distance/LAYER": "distance between batch mean and running mean, in running standard deviations",
        "batch_var_ratio/LAYER": "batch variance / running variance",
        "brn_r/LAYER": "factor r of batch renorm, the clipped batch std / running std: mean and std over channels",
        "brn_d/LAYER": "shift d of batch renorm, the clipped distance of the means: mean and std over channels",
    }
    titles: ClassVar = {tag.partition("/")[0]: meaning for tag, meaning in meanings.items() if tag.startswith("batch_")}

    def before_forward(self, recorder: Recorder) -> None:
        for name, layer in self.layers.items():
            for norm in layer.norm if isinstance(layer.norm, nn.ModuleList) else [layer.norm]:
                if norm is not None and running_moments(norm) is not None:
                    recorder.on_input(norm, partial(_record_statistics, recorder, name, norm))

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        for name, layer in self.layers.items():
            statistics = recorder.arrays.get(f"_batch_statistics/{name}")
            if statistics is not None:
                mean, var, running_mean, running_var = statistics.astype(np.float64).swapaxes(0, 1)
                eps = float(layer.norm.eps)  # type: ignore[union-attr, arg-type]
                distance = np.abs(mean - running_mean) / np.sqrt(running_var + eps)
                scalars[f"batch_mean_distance/{name}"] = float(distance.mean())
                ratio = np.log((var + eps) / (running_var + eps))
                scalars[f"batch_var_ratio/{name}"] = float(np.exp(ratio.mean()))
        shown = {tag: d for tag, d in recorder.distributions.items() if tag.partition("/")[0] in CORRECTIONS}
        scalars |= {f"{tag}/mean": d.mean for tag, d in shown.items()}
        scalars |= {f"{tag}/std": d.std for tag, d in shown.items()}
        return Measurements(scalars, {tag: d.histogram for tag, d in shown.items()})

    def charts(self) -> list[Chart]:
        renormalized = any(isinstance(layer.norm, BatchRenorm) for layer in self.layers.values())
        corrections = [
            Chart("Whole network", f"mean of {title}", lines=[f"{symbol}/.*/mean"])
            for symbol, title in CORRECTIONS.items()
            if renormalized
        ]
        return super().charts() + corrections


def _record_statistics(recorder: Recorder, name: str, norm: nn.Module, inputs: Tensor) -> None:
    """Record mean and variance of the batch, then the running ones: (1, 4, C) per ghost batch. Also r and d."""
    running = running_moments(norm)
    assert running is not None
    for part in ghost_batches(norm, inputs.detach()):
        mean, var = batch_moments(part)
        recorder.record_array(f"_batch_statistics/{name}", torch.stack([mean, var, *running])[None])
    if isinstance(norm, BatchRenorm):
        m = inputs.numel() // norm.num_features
        for symbol, values in zip(CORRECTIONS, norm.corrections(mean, var * ((m - 1) / m)), strict=True):
            recorder.record_array(f"{symbol}/{name}", values[:, None])


def batch_moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each channel of (B, C, ...): (C,) each. Computed in chunks to save memory. torch.var_mean
    takes ten times as long on channels_last tensors."""
    axes = [0, *range(2, values.dim())]
    mean = values.mean(axes, keepdim=True)
    squares = sum((chunk - mean).square_().sum(axes) for chunk in chunks(values))
    assert isinstance(squares, Tensor)
    return mean.flatten(), squares / (values.numel() / values.shape[1] - 1)


ENTRY = BatchStatistics
