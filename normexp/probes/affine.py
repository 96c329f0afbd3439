"""Learned parameters of the norms and activations, and learned scale of normalized weights."""

from typing import ClassVar

from torch import nn

from normexp.norms.sn_module import STATISTICS, SwitchNorm
from normexp.probes.base import Measurements, Probe, ProbedLayer, Recorder, filter_gains
from normexp.records import Chart

SYMBOLS = {"weight": "gamma", "bias": "beta"}
"""Names in the papers of parameters that torch names otherwise. The others (alpha, tau, ...) have their own."""


class Affine(Probe):
    """gamma/LAYER, beta/LAYER: histogram, mean and std of the norm's scale and shift; likewise of the other parameters that a
    norm or an activation learns, under their names. gain/LAYER: of the scale of the weight's filters, learned with `weight=sws`
    (its gain) and `weight=weight_norm` (g). sn_mean_in/LAYER etc.: weights of the norms that `norm=sn` mixes.
    """

    meanings: ClassVar = {
        "gamma/LAYER": "scale of the norm: mean and std over channels",
        "beta/LAYER": "shift of the norm: mean and std over channels",
        "alpha/LAYER": "scale of the input of norm=dyt and norm=derf",
        "shift/LAYER": "shift of the input of norm=derf",
        "epsilon/LAYER": "learned part of eps with norm=frn, where a channel has a single value",
        "v/LAYER": "slope of the sigmoid of norm=evonorm: mean and std over channels",
        "tau/LAYER": "threshold of activation=tlu: mean and std over channels",
        "sn_mean_in/LAYER": "weight of instance norm's mean in switchable norm",
        "sn_mean_ln/LAYER": "weight of layer norm's mean in switchable norm",
        "sn_mean_bn/LAYER": "weight of batch norm's mean in switchable norm",
        "sn_var_in/LAYER": "weight of instance norm's variance in switchable norm",
        "sn_var_ln/LAYER": "weight of layer norm's variance in switchable norm",
        "sn_var_bn/LAYER": "weight of batch norm's variance in switchable norm",
        "gain/LAYER": "learned scale of the weight's filters, with weight=sws and weight_norm: mean and std",
    }

    def before_forward(self, recorder: Recorder) -> None:
        for name, layer in self.layers.items():
            for symbol, values in _learned(layer).items():
                recorder.record_array(f"{symbol}/{name}", values.detach().flatten().clone())  # the update changes it
            if (gains := filter_gains(layer.weight)) is not None:
                recorder.record_array(f"gain/{name}", gains.detach().flatten().clone())
            if isinstance(layer.norm, SwitchNorm):
                for group, share in layer.norm.shares().items():
                    recorder.record(f"{group}/{name}", share)

    def report(self, recorder: Recorder) -> Measurements:
        shown = {tag: d for tag, d in recorder.distributions.items() if tag.partition("/")[0] in self._symbols()}
        scalars = {f"{tag}/mean": d.mean for tag, d in shown.items()}
        scalars |= {f"{tag}/std": d.std for tag, d in shown.items()}
        return Measurements(scalars, {tag: d.histogram for tag, d in shown.items()})

    def charts(self) -> list[Chart]:
        symbols = dict.fromkeys([*SYMBOLS.values(), *self._symbols()])
        charts = [Chart("Whole network", f"mean of {symbol}", lines=[f"{symbol}/.*/mean"]) for symbol in symbols]
        if any(isinstance(layer.norm, SwitchNorm) for layer in self.layers.values()):
            charts += [
                Chart("Whole network", f"weight of {norm}'s {what}", lines=[f"sn_{kind}_{norm}/.*"])
                for kind, what in (("mean", "mean"), ("var", "variance"))
                for norm in STATISTICS
            ]
        return charts

    def _symbols(self) -> dict[str, None]:
        """Everything that this network learns besides weights and biases, in order."""
        layers = self.layers.values()
        gains = ["gain"] * any(filter_gains(layer.weight) is not None for layer in layers)
        return dict.fromkeys([*(symbol for layer in layers for symbol in _learned(layer)), *gains])


def _learned(layer: ProbedLayer) -> dict[str, nn.Parameter]:
    """The parameters of a layer's norm and activation, by their symbols. Those of sn are reported as shares."""
    modules = [module for module in (layer.norm, layer.activation) if module is not None]
    named = [pair for module in modules for pair in module.named_parameters(recurse=False)]
    return {SYMBOLS.get(name, name): values for name, values in named if not name.endswith("_logits")}


ENTRY = Affine
