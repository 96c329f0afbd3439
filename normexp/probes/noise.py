"""Gradient noise scale (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from normexp.config import ProbeConfig
from normexp.probes.base import Measurements, Probe, ProbedLayer, layer_weights
from normexp.probes.recorder import Recorder


class Noise(Probe):
    """noise_scale/LAYER, noise_scale/total: the simple noise scale tr(S)/|G|^2 in samples (equation 2.9), the batch size at
    which a batch's gradient has as much noise as signal. G is the gradient of the weight, S its covariance between samples.
    Biases and the norms' gamma and beta are left out, also from the total.

    Estimated from the gradients g, h of two successive steps, whose weights are nearly the same and whose batches are
    disjoint: E|g - h|^2 = 2 tr(S)/B, and E[g.h] = |G|^2. A single pair says little; look at the curve over training.
    Undefined unless g.h > 0, and at step 0, which has no predecessor.
    """

    titles: ClassVar = {
        "noise_scale": "gradient noise scale, in samples",
    }

    def __init__(self, network: Mapping[str, ProbedLayer], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._last: dict[str, Tensor] = {}

    def due(self, step: int, total: int) -> bool:
        """Also due in the step before a snapshot."""
        return super().due(step, total) or (step < total and super().due(step + 1, total))

    def after_backward(self, recorder: Recorder) -> None:
        step, total = recorder.step.number, recorder.step.total
        now = {name: w.grad for name, w in layer_weights(self.network).items() if w.grad is not None}
        if self._last and super().due(step, total):
            pairs = {name: (g.double(), self._last[name].double()) for name, g in now.items() if name in self._last}
            for name, (g, h) in pairs.items():
                recorder.record(f"_noise/{name}", (g - h).square().sum() * (len(recorder.step.inputs) / 2))
                recorder.record(f"_signal/{name}", (g * h).sum())
        # A copy, since clipping works in place.
        next_is_due = step < total and super().due(step + 1, total)
        self._last = {name: g.clone() for name, g in now.items()} if next_is_due else {}

    def state_dict(self) -> dict[str, Any]:
        return dict(self._last)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        devices = {name: weight.device for name, weight in layer_weights(self.network).items()}
        self._last = {name: gradient.to(devices[name]) for name, gradient in state.items()}

    def report(self, recorder: Recorder) -> Measurements:
        numbers = recorder.scalars
        names = [tag.removeprefix("_noise/") for tag in numbers if tag.startswith("_noise/")]
        pairs = {name: (numbers[f"_noise/{name}"], numbers[f"_signal/{name}"]) for name in names}
        shown = {name: pair for name, pair in pairs.items() if name in self.layers}
        if pairs:
            shown["total"] = sum(noise for noise, _ in pairs.values()), sum(signal for _, signal in pairs.values())
        return Measurements(
            {f"noise_scale/{n}": noise / signal if signal > 0 else None for n, (noise, signal) in shown.items()}
        )


ENTRY = Noise
