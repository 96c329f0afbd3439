"""How much of each activation is flat: saturated values, dead units, and the derivative that the gradient is multiplied by."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normexp.probes.base import Findings, Probe
from normexp.probes.distribution import Floats
from normexp.probes.recorder import Look

FLAT = 0.05
"""The part of a bounded activation's range, at either end, in which it counts as saturated; and the derivative below which
one without bounds does."""


class Saturation(Probe):
    """saturated/LAYER: the fraction of sampled values that are saturated: for sigmoid and tanh in the lowest or highest 5 % of
    their range (outputs beyond 0.05 and 0.95, beyond -0.9 and 0.9), for relu 0, for others where the derivative is below 0.05
    in size. derivative/LAYER: the mean of the activation's derivative, over the sample. Of finite values; None without any.
    dead/LAYER: the fraction of channels (or features) whose output is 0 everywhere in the batch. Counted over the whole batch:
    in a sample, units that are rarely on would look dead.
    """

    titles: ClassVar = {
        "saturated": "saturated fraction of the activations",
        "dead": "dead units",
        "derivative": "mean derivative of the activations",
    }

    def before(self, look: Look) -> None:
        for name, layer in self.layers.items():
            if layer.activation is not None:
                look.watch_input(f"activation_in/{name}", layer.activation)
                look.watch_output(f"activation_out/{name}", layer.activation)
                look.hook(layer.activation.register_forward_hook(partial(_count_nonzero, look, name)))

    def report(self, look: Look) -> Findings:
        scalars: dict[str, float | None] = {}
        for name, layer in self.layers.items():
            before, after = (look.arrays.get(f"activation_{side}/{name}") for side in ("in", "out"))
            if layer.activation is None or before is None or after is None:
                continue
            finite = np.isfinite(before) & np.isfinite(after)
            some = bool(finite.any())
            nonzero = look.arrays.get(f"_nonzero/{name}")
            if nonzero is not None:
                scalars[f"dead/{name}"] = share(nonzero.sum(axis=0) == 0) if some else None  # over its uses in the pass
            if not fits(layer.activation, before):
                continue
            if not finite.all():
                before, after = before[finite][:, None], after[finite][:, None]
            slope, saturated = flatness(layer.activation, before, after) if some else (None, None)
            scalars[f"saturated/{name}"], scalars[f"derivative/{name}"] = saturated, slope
        return Findings(scalars)


def _count_nonzero(look: Look, name: str, _: nn.Module, inputs: object, output: object) -> None:
    """A forward hook: keep, for each channel of the output (B, C, ...), how many of its values are not 0."""
    if isinstance(output, Tensor):
        rows = output.detach().movedim(1, -1).reshape(-1, output.shape[1])
        look.keep_array(f"_nonzero/{name}", torch.count_nonzero(rows, dim=0)[None])


def flatness(activation: nn.Module, inputs: Floats, outputs: Floats) -> tuple[float, float]:
    """The mean derivative of an activation at its inputs, and the share of them where it is saturated."""
    match activation:
        case nn.Sigmoid():
            return mean(outputs * (1 - outputs)), share((outputs < FLAT) | (outputs > 1 - FLAT))
        case nn.Tanh():
            return mean(1 - outputs**2), share(np.abs(outputs) > 1 - 2 * FLAT)
        case nn.ReLU():
            return share(outputs > 0), share(outputs == 0)
    slope = derivative(activation, inputs)
    return mean(slope), share(np.abs(slope) < FLAT)


def share(which: NDArray[np.bool]) -> float:
    """The part that is true."""
    return np.count_nonzero(which) / which.size


def mean(values: Floats) -> float:
    return float(values.mean(dtype=np.float64))


def derivative(activation: nn.Module, values: Floats) -> Floats:
    """Of an activation that works on each value by itself, at each of the values."""
    parameter = next(activation.parameters(), torch.empty(0))
    at = torch.from_numpy(values).to(parameter).requires_grad_()
    # For one that draws numbers. By default this would start CUDA on every GPU of the machine.
    with torch.random.fork_rng([at.device] if at.is_cuda else []):
        # A copy, for one that works in place.
        (slope,) = torch.autograd.grad(activation(at.clone()).sum(), at)
    found: Floats = slope.float().numpy(force=True)
    return found


def fits(activation: nn.Module, values: Floats) -> bool:
    """Whether an activation with parameters for each channel finds all channels in a sample."""
    return all(parameter.numel() in (1, values.shape[1]) for parameter in activation.parameters())


ENTRY = Saturation
