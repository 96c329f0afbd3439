"""Saturation: flat parts of the activations, dead units, and the derivative that multiplies the gradient."""

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normexp.models.tlu import TLU
from normexp.norms.pointwise_modules import DynamicErf, DynamicTanh
from normexp.probes.base import Measurements, Probe, Recorder
from normexp.probes.distribution import Floats
from normexp.records import Chart

FLAT = 0.05
"""Threshold for saturation: distance from either end of a bounded activation's range, as a fraction of it; or derivative."""


class Saturation(Probe):
    """saturated/LAYER: fraction of sampled values that are saturated. For sigmoid and tanh: in the lowest or highest 5 % of the
    range (outputs beyond 0.05 and 0.95, or -0.9 and 0.9); for relu: 0; for tlu: at most tau; for others: |derivative| < 0.05.
    derivative/LAYER: mean derivative of the activation over the sample. Both ignore values that are not finite.
    dead/LAYER: fraction of channels (or features) whose output is 0 (tlu: tau) everywhere in the batch. Counted over the whole
    batch, since units that are rarely active would look dead in a sample.
    norm_saturated/LAYER: fraction of the values in the batch at which the tanh of norm=dyt or the erf of norm=derf is beyond 0.9.
    """

    titles: ClassVar = {
        "saturated": "saturated fraction of the activations",
        "dead": "fraction of dead units",
        "derivative": "mean derivative of the activations",
    }
    meanings: ClassVar = {
        "saturated/LAYER": "saturated fraction of the activation's outputs",
        "dead/LAYER": "fraction of channels that are 0 for the whole batch",
        "derivative/LAYER": "mean derivative of the activation",
        "norm_saturated/LAYER": "fraction of values at which the tanh of norm=dyt or the erf of norm=derf is beyond 0.9",
    }

    def before_forward(self, recorder: Recorder) -> None:
        for name, activation in self.activations.items():
            recorder.sample_input(f"activation_in/{name}", activation)
            recorder.sample_output(f"activation_out/{name}", activation)
            recorder.on_output(activation, partial(_count_active, recorder, name, activation))
        for name, norm in self._squashing().items():
            recorder.on_input(norm, partial(_record_squashed, recorder, name, norm))

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        for name, activation in self.activations.items():
            inputs, outputs = (recorder.arrays.get(f"activation_{side}/{name}") for side in ("in", "out"))
            if inputs is None or outputs is None or inputs.shape != outputs.shape:
                continue
            finite = np.isfinite(inputs) & np.isfinite(outputs)
            any_finite = bool(finite.any())
            active = recorder.arrays.get(f"_active/{name}")
            if active is not None:  # one row per call in this pass
                scalars[f"dead/{name}"] = fraction(active.sum(axis=0) == 0) if any_finite else None
            if isinstance(activation, TLU):
                share = float(active.mean(dtype=np.float64)) if active is not None and any_finite else None
                scalars[f"saturated/{name}"] = None if share is None else 1 - share
                scalars[f"derivative/{name}"] = share
                continue
            # A sample has no channels, which per-channel parameters such as PReLU's need.
            if any(parameter.numel() not in (1, inputs.shape[1]) for parameter in activation.parameters()):
                continue
            if not finite.all():
                inputs, outputs = inputs[finite][:, None], outputs[finite][:, None]
            slope, saturated = flatness(activation, inputs, outputs) if any_finite else (None, None)
            scalars[f"saturated/{name}"], scalars[f"derivative/{name}"] = saturated, slope
        for name in self._squashing():
            if (shares := recorder.arrays.get(f"_norm_saturated/{name}")) is not None:  # of micro-batches of equal size
                scalars[f"norm_saturated/{name}"] = float(shares.mean())
        return Measurements(scalars)

    def charts(self) -> list[Chart]:
        title = "saturated fraction of the norms"
        return super().charts() + [Chart("Whole network", title, lines=["norm_saturated/.*"])] * bool(self._squashing())

    def _squashing(self) -> dict[str, nn.Module]:
        """The norms that squash their input, by layer."""
        norms = {name: layer.norm for name, layer in self.layers.items() if layer.norm is not None}
        return {name: norm for name, norm in norms.items() if isinstance(norm, DynamicTanh | DynamicErf)}


def _record_squashed(recorder: Recorder, name: str, norm: nn.Module, values: Tensor) -> None:
    """Record the fraction of values at which the norm is saturated: (1,)."""
    assert isinstance(norm, DynamicTanh | DynamicErf)
    with torch.no_grad():
        saturated = norm.squash(values).abs() > 1 - 2 * FLAT
    recorder.record_array(f"_norm_saturated/{name}", saturated.float().mean()[None])


def _count_active(recorder: Recorder, name: str, activation: nn.Module, output: Tensor) -> None:
    """Record the number of nonzero values in each channel of the output (B, C, ...): (1, C). Of TLU, the fraction above the
    threshold, which is its output otherwise."""
    rows = output.detach().movedim(1, -1).reshape(-1, output.shape[1])
    tau = activation.tau.detach() if isinstance(activation, TLU) else None
    counts = torch.count_nonzero(rows, dim=0) if tau is None else (rows > tau).float().mean(0)
    recorder.record_array(f"_active/{name}", counts[None])


def flatness(activation: nn.Module, inputs: Floats, outputs: Floats) -> tuple[float, float]:
    """Mean derivative at the inputs, and the fraction of them at which the activation is saturated."""
    slope: Floats
    match activation:
        case nn.Sigmoid():
            slope, saturated = outputs * (1 - outputs), (outputs < FLAT) | (outputs > 1 - FLAT)
        case nn.Tanh():
            slope, saturated = 1 - outputs**2, np.abs(outputs) > 1 - 2 * FLAT
        case nn.ReLU():
            return fraction(outputs > 0), fraction(outputs == 0)
        case _:
            slope = derivative(activation, inputs)
            saturated = np.abs(slope) < FLAT
    return float(slope.mean(dtype=np.float64)), fraction(saturated)


def fraction(mask: NDArray[np.bool]) -> float:
    return np.count_nonzero(mask) / mask.size


def derivative(activation: nn.Module, values: Floats) -> Floats:
    """Derivative of an elementwise activation at each value."""
    parameter = next(activation.parameters(), torch.empty(0))
    at = torch.from_numpy(values).to(parameter).requires_grad_()
    # Some activations draw random numbers. Without `devices`, fork_rng would initialize CUDA on every GPU.
    with torch.random.fork_rng([at.device] if at.is_cuda else []):
        (slope,) = torch.autograd.grad(activation(at.clone()).sum(), at)  # a copy, in case it works in place
    slopes: Floats = slope.float().numpy(force=True)
    return slopes


ENTRY = Saturation
