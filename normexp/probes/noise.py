"""How noisy the gradient of a batch is: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", section 2.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from normexp.config import ProbeConfig
from normexp.probes.base import Findings, Probe, Watched, weights_of
from normexp.probes.recorder import Look


class Noise(Probe):
    """noise_scale/LAYER, noise_scale/total: the simple noise scale tr(S)/|G|^2 in samples (equation 2.9): the batch size at
    which a batch's gradient has as much noise as signal. G is the gradient of the weight, S its covariance between samples.
    Biases and the norms' gamma and beta are left out, also from the total.

    From the gradients g, h of two steps that follow one another, which see nearly the same weights and batches that have
    nothing in common: |g - h|^2 has the expectation 2 tr(S)/B, and g.h that of |G|^2. A single pair says little; look
    at the course. Not defined where g.h is not above 0, nor at step 0, before which there is none.
    """

    titles: ClassVar = {
        "noise_scale": "gradient noise scale, in samples",
    }

    def __init__(self, network: Mapping[str, Watched], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._last: dict[str, Tensor] = {}

    def due(self, step: int, total: int) -> bool:
        """Also in the step before a look."""
        return super().due(step, total) or (step < total and super().due(step + 1, total))

    def gradients(self, look: Look) -> None:
        step, total = look.step.number, look.step.total
        now = {name: w.grad for name, w in weights_of(self.network).items() if w.grad is not None}
        if self._last and super().due(step, total):
            pairs = {name: (g.double(), self._last[name].double()) for name, g in now.items() if name in self._last}
            for name, (g, h) in pairs.items():
                look.keep(f"_noise/{name}", (g - h).square().sum() * (len(look.step.inputs) / 2))
                look.keep(f"_signal/{name}", (g * h).sum())
        # A copy, since clipping works in place.
        next_is_due = step < total and super().due(step + 1, total)
        self._last = {name: g.clone() for name, g in now.items()} if next_is_due else {}

    def state_dict(self) -> dict[str, Any]:
        return dict(self._last)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        devices = {name: weight.device for name, weight in weights_of(self.network).items()}
        self._last = {name: gradient.to(devices[name]) for name, gradient in state.items()}

    def report(self, look: Look) -> Findings:
        names = [tag.removeprefix("_noise/") for tag in look.numbers if tag.startswith("_noise/")]
        both = {name: (look.numbers[f"_noise/{name}"], look.numbers[f"_signal/{name}"]) for name in names}
        shown = {name: pair for name, pair in both.items() if name in self.layers}
        if both:
            shown["total"] = sum(noise for noise, _ in both.values()), sum(signal for _, signal in both.values())
        return Findings(
            {f"noise_scale/{n}": noise / signal if signal > 0 else None for n, (noise, signal) in shown.items()}
        )


ENTRY = Noise
