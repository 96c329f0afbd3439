"""The learned scale and shift of each norm."""

from __future__ import annotations

from torch import nn

from normexp.probes.base import Findings, Probe
from normexp.probes.recorder import Look
from normexp.records import Chart


class Affine(Probe):
    """gamma/LAYER, beta/LAYER: a histogram of the norm's scale and shift; below these names mean and std."""

    def before(self, look: Look) -> None:
        for name, layer in self.layers.items():
            for symbol, part in (("gamma", "weight"), ("beta", "bias")):
                values = getattr(layer.norm, part, None)
                if isinstance(values, nn.Parameter):
                    look.keep_array(f"{symbol}/{name}", values.detach().clone())  # the update changes it

    def report(self, look: Look) -> Findings:
        shown = {tag: d for tag, d in look.distributions.items() if tag.partition("/")[0] in ("gamma", "beta")}
        scalars = {f"{tag}/mean": d.mean for tag, d in shown.items()} | {
            f"{tag}/std": d.std for tag, d in shown.items()
        }
        return Findings(scalars, {tag: d.histogram for tag, d in shown.items()})

    def charts(self) -> list[Chart]:
        return [
            Chart("Whole network", f"mean of {symbol}", lines=[f"{symbol}/.*/mean"]) for symbol in ("gamma", "beta")
        ]


ENTRY = Affine
