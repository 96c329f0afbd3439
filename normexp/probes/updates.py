"""Norm of each layer's weight, and of its update relative to it."""

from typing import ClassVar

import torch
from torch import Tensor

from normexp.probes.base import Measurements, Probe, Recorder, layer_weights


class Updates(Probe):
    """weight_norm/LAYER: Euclidean norm of the weight before the update. update_ratio/LAYER: norm of the update over that of the
    weight, usually around 1e-3. 0 for a frozen weight, undefined for a weight of 0. Both are of the trained weight, before a
    normalization by `weight`.
    """

    titles: ClassVar = {"weight_norm": "weight norm", "update_ratio": "update norm / weight norm"}
    meanings: ClassVar = {
        "weight_norm/LAYER": "norm of the weight that is trained, before weight standardization and the like",
        "update_ratio/LAYER": "norm of the update over the norm of the weight; around 1e-3 is usual, but less at the end of a "
        "schedule, where lr is near 0",
    }
    _before: dict[str, Tensor]

    def after_backward(self, recorder: Recorder) -> None:
        self._before = {name: weight.detach().clone() for name, weight in layer_weights(self.layers).items()}

    def after_update(self, recorder: Recorder) -> None:
        if not self._before:
            return
        now = [weight.detach() for weight in layer_weights(self.layers).values()]
        before = list(self._before.values())
        changes, norms = torch._foreach_norm(torch._foreach_sub(now, before)), torch._foreach_norm(before)
        for name, change, norm in zip(self._before, changes, norms, strict=True):
            recorder.record(f"weight_norm/{name}", norm)
            recorder.record(f"_update/{name}", change)
        self._before = {}  # free the copies until the next snapshot

    def report(self, recorder: Recorder) -> Measurements:
        changes, norms = (recorder.scalars_by_layer(group) for group in ("_update", "weight_norm"))
        return Measurements({f"update_ratio/{n}": changes[n] / norm if norm else None for n, norm in norms.items()})


ENTRY = Updates
