"""Distributions of the activations' inputs and outputs and of the norms' outputs.

Ioffe and Szegedy 2015, figure 1b and c, plots the 15th, 50th and 85th percentile of a sigmoid's inputs over training.
"""

from typing import ClassVar

from torch import nn

from normexp.probes.base import Measurements, Probe, Recorder
from normexp.records import Chart

PAGES = {
    "activation_in": "Activation inputs: median, 15th to 85th percentile",
    "activation_out": "Activation outputs: median, 15th to 85th percentile",
    "norm_out": "Norm outputs: median, 15th to 85th percentile",
}
PERCENTILES = (1, 15, 50, 85, 99)


class Activations(Probe):
    """activation_in/LAYER, activation_out/LAYER, norm_out/LAYER: histogram of sampled values. Below each of these tags: mean,
    std, skew, kurtosis (excess: 0 for a Gaussian), p1, p15, p50, p85, p99, and, if not 0, nonfinite: the number of sampled
    values that are not finite. norm_out is left out where it equals activation_in.
    """

    meanings: ClassVar = {
        "activation_in/LAYER": "inputs of the activation: mean, std, skew, excess kurtosis, percentiles, non-finite count",
        "activation_out/LAYER": "outputs of the activation",
        "norm_out/LAYER": "outputs of the norm, if they are not the activation's inputs",
    }

    def before_forward(self, recorder: Recorder) -> None:
        for name, activation in self.activations.items():
            recorder.sample_input(f"activation_in/{name}", activation)
            recorder.sample_output(f"activation_out/{name}", activation)
        for name, norm in self._norms().items():
            recorder.sample_output(f"norm_out/{name}", norm)

    def report(self, recorder: Recorder) -> Measurements:
        shown = {tag: d for tag, d in recorder.distributions.items() if tag.partition("/")[0] in PAGES}
        scalars: dict[str, float | None] = {}
        for tag, d in shown.items():
            scalars |= {f"{tag}/{name}": getattr(d, name) for name in ("mean", "std", "skew", "kurtosis")}
            scalars |= {f"{tag}/p{p}": d.percentiles[p] for p in PERCENTILES}
            if d.nonfinite:
                scalars[f"{tag}/nonfinite"] = d.nonfinite
        return Measurements(scalars, {tag: d.histogram for tag, d in shown.items()})

    def charts(self) -> list[Chart]:
        layers = {"activation_in": self.activations, "activation_out": self.activations, "norm_out": self._norms()}
        tags = [(group, name, f"{group}/{name}") for group, names in layers.items() for name in names]
        return [Chart(PAGES[group], name, band=(f"{tag}/p50", f"{tag}/p15", f"{tag}/p85")) for group, name, tag in tags]

    def _norms(self) -> dict[str, nn.Module]:
        """Norms whose output is not the activation's input."""
        return {name: p.norm for name, p in self.layers.items() if p.norm is not None and not p.norm_is_input}


ENTRY = Activations
