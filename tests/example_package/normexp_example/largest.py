"""The largest weight of each layer."""

from normexp.probes.base import Probe


class Largest(Probe):
    titles = {"largest": "largest absolute weight"}
    meanings = {"largest/LAYER": "largest absolute weight, before the update"}

    def before_forward(self, recorder):
        for name, layer in self.layers.items():
            if layer.weight is not None:
                recorder.record(f"largest/{name}", layer.weight.weight.detach().abs().max())
