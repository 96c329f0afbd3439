"""The size of each layer's weight, and of what an update changes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from normexp.config import ProbeConfig
from normexp.probes.base import Findings, Probe, Watched, weights_of
from normexp.probes.recorder import Look


class Updates(Probe):
    """weight_norm/LAYER: Euclidean norm of the weight, before the update. update_ratio/LAYER: norm of what the update added to
    it, over that; around 1e-3 is usual. A frozen weight's is 0, one that is 0 itself has none.
    """

    titles: ClassVar = {
        "weight_norm": "norm of the weights",
        "update_ratio": "size of the update over that of the weight",
    }

    def __init__(self, network: Mapping[str, Watched], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._before: dict[str, Tensor] = {}

    def gradients(self, look: Look) -> None:
        self._before = {name: weight.detach().clone() for name, weight in weights_of(self.layers).items()}

    def updated(self, look: Look) -> None:
        if not self._before:
            return
        now = [weight.detach() for weight in weights_of(self.layers).values()]
        before = list(self._before.values())
        changes, norms = torch._foreach_norm(torch._foreach_sub(now, before)), torch._foreach_norm(before)
        for name, change, norm in zip(self._before, changes, norms, strict=True):
            look.keep(f"weight_norm/{name}", norm)
            look.keep(f"_update/{name}", change)
        self._before = {}  # no memory between looks

    def report(self, look: Look) -> Findings:
        names = [tag.removeprefix("_update/") for tag in look.numbers if tag.startswith("_update/")]
        both = {name: (look.numbers[f"_update/{name}"], look.numbers[f"weight_norm/{name}"]) for name in names}
        return Findings(
            {f"update_ratio/{n}": None if norm == 0 else change / norm for n, (change, norm) in both.items()}
        )


ENTRY = Updates
