"""How far the middle of what enters each activation has moved, in units of its width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from normexp.config import ProbeConfig
from normexp.probes.base import Findings, Probe, Watched
from normexp.probes.recorder import Look

Middle = tuple[float, float]
"""Median and interquartile range."""


class Drift(Probe):
    """drift/LAYER: |median - median at step 0| / interquartile range at step 0, of what enters the activation.
    drift_last/LAYER: the same against the previous snapshot. Not defined where the range was 0.

    Of a sample of n values, a layer that has not moved reads about 1 / sqrt(n): two medians each with a standard error of
    1.25 std / sqrt(n), over a range of 1.35 std, for Gaussian values.
    """

    titles: ClassVar = {
        "drift": "drift of the median since step 0, in interquartile ranges",
    }

    def __init__(self, network: Mapping[str, Watched], config: ProbeConfig) -> None:
        super().__init__(network, config)
        self._first: dict[str, Middle] = {}
        self._last: dict[str, Middle] = {}

    def before(self, look: Look) -> None:
        for name, layer in self.layers.items():
            if layer.activation is not None:
                look.watch_input(f"activation_in/{name}", layer.activation)

    def report(self, look: Look) -> Findings:
        scalars: dict[str, float | None] = {}
        for name in self.layers:
            found = look.distributions.get(f"activation_in/{name}")
            if found is None:
                continue
            low, median, high = (found.percentiles[p] for p in (25, 50, 75))
            if low is None or median is None or high is None:  # nothing finite is left
                continue
            if look.step.number == 1:
                self._first[name] = (median, high - low)
            if name in self._first:
                scalars[f"drift/{name}"] = _moved(median, self._first[name])
            if name in self._last:
                scalars[f"drift_last/{name}"] = _moved(median, self._last[name])
            self._last[name] = (median, high - low)
        return Findings(scalars)

    def state_dict(self) -> dict[str, Any]:
        return {"first": dict(self._first), "last": dict(self._last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._first, self._last = dict(state["first"]), dict(state["last"])


def _moved(median: float, reference: Middle) -> float | None:
    was, width = reference
    return abs(median - was) / width if width > 0 else None


ENTRY = Drift
