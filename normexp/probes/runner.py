"""Runs the probes of a config."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from normexp.config import ProbeConfig
from normexp.probes import load, switched_on
from normexp.probes.base import Measurements, Probe, ProbedLayer, Recorder, Step
from normexp.probes.distribution import Distributions
from normexp.probes.sampling import Sampler
from normexp.records import Chart, Histogram


class Snapshot:
    """The probes of one step. Use it as the context of the forward passes; the hooks are removed at the end."""

    def __init__(self, probes: Sequence[Probe], recorder: Recorder) -> None:
        self._probes, self._recorder = probes, recorder

    def __enter__(self) -> None:
        for probe in self._probes:
            probe.before_forward(self._recorder)

    def __exit__(self, *_: object) -> None:
        for hook in self._recorder.hooks:
            hook.remove()

    def start_micro_batch(self, number: int) -> None:
        """To be called before the forward pass of each of several micro-batches."""
        self._recorder.start_micro_batch(number)

    def after_backward(self) -> None:
        for probe in self._probes:
            probe.after_backward(self._recorder)

    def after_update(self) -> None:
        for probe in self._probes:
            probe.after_update(self._recorder)

    def measurements(self) -> Measurements:
        """All measurements, as plain Python numbers, which checkpoints can store."""
        scalars: dict[str, float | None] = {t: v for t, v in self._recorder.scalars.items() if not t.startswith("_")}
        histograms: dict[str, Histogram] = {}
        for probe in self._probes:
            reported = probe.report(self._recorder)
            scalars |= {t: v.item() if isinstance(v, np.generic) else v for t, v in reported.scalars.items()}
            histograms |= reported.histograms
        return Measurements(scalars, histograms)


class Probes:
    """The probes that a config switches on, over a network's layers."""

    def __init__(
        self,
        layers: Mapping[str, nn.Module | ProbedLayer],
        config: ProbeConfig,
        *,
        seed: int,
        recorder: Callable[[Step, Sampler, Distributions], Recorder] = Recorder,
    ) -> None:
        """recorder: creates the recorder of a snapshot."""
        network = {n: layer if isinstance(layer, ProbedLayer) else ProbedLayer(layer) for n, layer in layers.items()}
        self._recorder = recorder
        self._probes = {name: load(name)(network, config) for name in switched_on(config)}
        self._sampler, self._describe = Sampler(config.samples, seed=seed), Distributions()

    def snapshot(self, step: Step) -> Snapshot | None:
        """Start the snapshot of a step. Returns None if no probe is due."""
        probes = self._due(step.number, step.total)
        self._sampler.start(step.number, step.accumulate)
        return Snapshot(probes, self._recorder(step, self._sampler, self._describe)) if probes else None

    def due(self, step: int, total: int) -> bool:
        """Whether a snapshot is due at a step of a run with `total` steps."""
        return bool(self._due(step, total))

    def _due(self, step: int, total: int) -> list[Probe]:
        return [probe for probe in self._probes.values() if probe.due(step, total)]

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: whatever later snapshots need from earlier ones."""
        states = {name: probe.state_dict() for name, probe in self._probes.items()}
        return {"bins": dict(self._describe.bins), "probes": states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._describe.bins = dict(state["bins"])
        for name, probe in self._probes.items():
            probe.load_state_dict(state["probes"][name])

    def charts(self) -> list[Chart]:
        return [chart for probe in self._probes.values() for chart in probe.charts()]
