"""Learned scale and shift of the norms."""

from typing import ClassVar

from torch import nn

from normexp.probes.base import Measurements, Probe, Recorder
from normexp.records import Chart

SYMBOLS = {"gamma": "weight", "beta": "bias"}  # name in the papers: name in torch


class Affine(Probe):
    """gamma/LAYER, beta/LAYER: histogram, mean and std of the norm's scale and shift."""

    meanings: ClassVar = {
        "gamma/LAYER": "scale of the norm: mean and std over channels",
        "beta/LAYER": "shift of the norm: mean and std over channels",
    }

    def before_forward(self, recorder: Recorder) -> None:
        for name, layer in self.layers.items():
            for symbol, attribute in SYMBOLS.items():
                values = getattr(layer.norm, attribute, None)
                if isinstance(values, nn.Parameter):
                    recorder.record_array(f"{symbol}/{name}", values.detach().clone())  # the update changes it

    def report(self, recorder: Recorder) -> Measurements:
        shown = {tag: d for tag, d in recorder.distributions.items() if tag.partition("/")[0] in SYMBOLS}
        scalars = {f"{tag}/mean": d.mean for tag, d in shown.items()}
        scalars |= {f"{tag}/std": d.std for tag, d in shown.items()}
        return Measurements(scalars, {tag: d.histogram for tag, d in shown.items()})

    def charts(self) -> list[Chart]:
        return [Chart("Whole network", f"mean of {symbol}", lines=[f"{symbol}/.*/mean"]) for symbol in SYMBOLS]


ENTRY = Affine
