"""The distribution of what enters and what leaves each activation, and of what leaves each norm.

Ioffe and Szegedy 2015, figure 1b and c, shows the 15th, 50th and 85th percentile of what enters a sigmoid, over training.
"""

from __future__ import annotations

from normexp.probes.base import Findings, Probe
from normexp.probes.recorder import Look
from normexp.records import Chart

PAGES = {
    "activation_in": "What enters the activations: median, 15th to 85th percentile",
    "activation_out": "What leaves the activations: median, 15th to 85th percentile",
    "norm_out": "What leaves the norms: median, 15th to 85th percentile",
}
SHOWN = (1, 15, 50, 85, 99)


class Activations(Probe):
    """activation_in/LAYER, activation_out/LAYER, norm_out/LAYER: a histogram of a sample of the values; below these names
    mean, std, skew, kurtosis (in excess of a Gaussian's), p1, p15, p50, p85, p99, and nonfinite, the number of sampled values
    that are not finite, where there are any. What leaves a norm is left out where it is what enters the activation.
    """

    def before(self, look: Look) -> None:
        for name, layer in self.layers.items():
            if layer.activation is not None:
                look.watch_input(f"activation_in/{name}", layer.activation)
                look.watch_output(f"activation_out/{name}", layer.activation)
            if layer.norm is not None and not layer.norm_is_input:
                look.watch_output(f"norm_out/{name}", layer.norm)

    def report(self, look: Look) -> Findings:
        shown = {tag: d for tag, d in look.distributions.items() if tag.partition("/")[0] in PAGES}
        scalars: dict[str, float | None] = {}
        for tag, found in shown.items():
            scalars |= {
                f"{tag}/mean": found.mean,
                f"{tag}/std": found.std,
                f"{tag}/skew": found.skew,
                f"{tag}/kurtosis": found.kurtosis,
                **{f"{tag}/p{p}": found.percentiles[p] for p in SHOWN},
            }
            if found.nonfinite:
                scalars[f"{tag}/nonfinite"] = found.nonfinite
        return Findings(scalars, {tag: found.histogram for tag, found in shown.items()})

    def charts(self) -> list[Chart]:
        sides = {
            "activation_in": [name for name, layer in self.layers.items() if layer.activation is not None],
            "activation_out": [name for name, layer in self.layers.items() if layer.activation is not None],
            "norm_out": [n for n, layer in self.layers.items() if layer.norm is not None and not layer.norm_is_input],
        }
        bands = {(s, n): (f"{s}/{n}/p50", f"{s}/{n}/p15", f"{s}/{n}/p85") for s, names in sides.items() for n in names}
        return [Chart(PAGES[side], name, band=band) for (side, name), band in bands.items()]


ENTRY = Activations
