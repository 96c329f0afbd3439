"""Movement of the median of each activation's inputs, relative to their spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from normexp.config import ProbeConfig
from normexp.probes.base import Measurements, Probe, ProbedLayer
from normexp.probes.recorder import Recorder

Center = tuple[float, float]
"""Median and interquartile range."""


class Drift(Probe):
    """drift/LAYER: |median - median at step 0| / interquartile range at step 0, of the activation's inputs.
    drift_last/LAYER: the same relative to the previous snapshot. Undefined if that range was 0.

    With a sample of n values, a layer that has not moved reads about 1 / sqrt(n): for Gaussian values, each median has a
    standard error of 1.25 std / sqrt(n), and the range is 1.35 std.
    """

    titles: ClassVar = {
        "drift": "drift of the median since step 0, in interquartile ranges",
    }

    def __init__(self, network: Mapping[str, ProbedLayer], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._first: dict[str, Center] = {}
        self._last: dict[str, Center] = {}

    def before_forward(self, recorder: Recorder) -> None:
        for name, layer in self.layers.items():
            if layer.activation is not None:
                recorder.sample_input(f"activation_in/{name}", layer.activation)

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        for name in self.layers:
            distribution = recorder.distributions.get(f"activation_in/{name}")
            if distribution is None:
                continue
            low, median, high = (distribution.percentiles[p] for p in (25, 50, 75))
            if low is None or median is None or high is None:  # no finite values
                continue
            if recorder.step.number == 1:
                self._first[name] = (median, high - low)
            if name in self._first:
                scalars[f"drift/{name}"] = _moved(median, self._first[name])
            if name in self._last:
                scalars[f"drift_last/{name}"] = _moved(median, self._last[name])
            self._last[name] = (median, high - low)
        return Measurements(scalars)

    def state_dict(self) -> dict[str, Any]:
        return {"first": dict(self._first), "last": dict(self._last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._first, self._last = dict(state["first"]), dict(state["last"])


def _moved(median: float, reference: Center) -> float | None:
    before, spread = reference
    return abs(median - before) / spread if spread > 0 else None


ENTRY = Drift
