"""Entropy of the attention weights."""

import math
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from normexp.probes.base import Measurements, Probe, Recorder
from normexp.records import Chart


class Attention(Probe):
    """attention_entropy/LAYER: entropy of the attention weights of each query, -sum p log p over the T keys, divided by log T;
    averaged over queries, heads and samples. 1: all keys weigh the same; 0: attention to a single key. Undefined for T = 1."""

    titles: ClassVar = {"attention_entropy": "entropy of the attention weights, as a fraction of its maximum"}
    meanings: ClassVar = {
        "attention_entropy/LAYER": "entropy of the attention weights, as a fraction of its maximum: 1 if all keys weigh the same",
    }

    def before_forward(self, recorder: Recorder) -> None:
        for name, softmax in self._softmaxes().items():
            recorder.on_call(softmax, partial(_record_entropy, recorder, name))

    def report(self, recorder: Recorder) -> Measurements:
        entropies = {name: recorder.arrays.get(f"_entropy/{name}") for name in self.layers}
        # Averaged over micro-batches, which have the same size.
        means = {name: float(values.mean()) for name, values in entropies.items() if values is not None}
        return Measurements({f"attention_entropy/{name}": mean for name, mean in means.items() if math.isfinite(mean)})

    def charts(self) -> list[Chart]:
        return super().charts() if self._softmaxes() else []

    def _softmaxes(self) -> dict[str, nn.Module]:
        """The softmax of each layer that shows attention weights."""
        parts = {name: dict(layer.layer.named_children()) for name, layer in self.layers.items()}
        return {name: each["softmax"] for name, each in parts.items() if "softmax" in each}


def _record_entropy(recorder: Recorder, name: str, weights: Tensor) -> None:
    """Record the mean entropy of weights (B heads, queries, keys) over log(keys): (1,)."""
    if weights.shape[-1] > 1:
        entropy = torch.special.entr(weights.detach()).sum(-1).mean() / math.log(weights.shape[-1])
        recorder.record_array(f"_entropy/{name}", entropy[None])


ENTRY = Attention
