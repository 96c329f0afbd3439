"""Gradient noise scale (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", section 2.2)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from normexp.probes.base import Measurements, Probe, Recorder, layer_weights


class Noise(Probe):
    """noise_scale/LAYER, noise_scale/total: the simple noise scale tr(S)/|G|^2 in samples (equation 2.9), the batch size at
    which a batch's gradient has as much noise as signal. G is the gradient of the weight, S its covariance between samples.
    Biases and the norms' gamma and beta are left out, also from the total.

    Estimated from the gradients g, h of two successive steps, with nearly the same weights and disjoint batches:
    E|g - h|^2 = 2 tr(S)/B, and E[g.h] = |G|^2. A single pair is very noisy; look at the curve over training. Undefined unless
    g.h > 0, and at step 0, which has no predecessor.
    """

    titles: ClassVar = {"noise_scale": "gradient noise scale, in samples"}
    meanings: ClassVar = {
        "noise_scale/LAYER": "gradient noise scale of the layer's weight, in samples",
        "noise_scale/total": "gradient noise scale of all weights, in samples",
    }

    def due(self, step: int, total: int) -> bool:
        """Snapshots also need the step before."""
        return super().due(step, total) or (step < total and super().due(step + 1, total))

    def after_backward(self, recorder: Recorder) -> None:
        step, total = recorder.step.number, recorder.step.total
        now = {name: w.grad for name, w in layer_weights(self.network).items() if w.grad is not None}
        if self.last and super().due(step, total):
            pairs = {name: (g.double(), self.last[name].double()) for name, g in now.items() if name in self.last}
            for name, (g, h) in pairs.items():
                recorder.record(f"_noise/{name}", (g - h).square().sum() * (len(recorder.step.inputs) / 2))
                recorder.record(f"_signal/{name}", (g * h).sum())
        # A copy, since clipping works in place.
        next_is_due = step < total and super().due(step + 1, total)
        self.last = {name: g.clone() for name, g in now.items()} if next_is_due else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        devices = {name: weight.device for name, weight in layer_weights(self.network).items()}
        self.last = {name: gradient.to(devices[name]) for name, gradient in state.items()}

    def report(self, recorder: Recorder) -> Measurements:
        noises, signals = (recorder.scalars_by_layer(group) for group in ("_noise", "_signal"))
        shown = {name: (noise, signals[name]) for name, noise in noises.items() if name in self.layers}
        if noises:
            shown["total"] = sum(noises.values()), sum(signals.values())
        scales = {name: noise / signal if signal > 0 else None for name, (noise, signal) in shown.items()}
        return Measurements({f"noise_scale/{name}": scale for name, scale in scales.items()})


ENTRY = Noise
