"""Linearity of the activations over the range of their inputs."""

from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from normexp.probes.base import Measurements, Probe, Recorder

MIN_RELATIVE_STD = 1e-6  # channels with a smaller std / mean are constant up to float32 rounding


class Linearity(Probe):
    """linearity/LAYER: R^2 of the least-squares regression of each channel's (or feature's) activation output on its input, over
    the whole batch, averaged over channels. For one regressor it is the squared correlation of input and output.

    1: the activation acts on its inputs like a straight line, as a sigmoid does near 0. A Gaussian input of standard deviation 1
    gives 0.98 for sigmoid, 0.73 for relu. Channels whose output is constant, such as dead or fully saturated units, count as
    linear (R^2 = 1), since a constant is.
    """

    titles: ClassVar = {"linearity": "linearity of the activations: R^2 of a straight line"}
    meanings: ClassVar = {
        "linearity/LAYER": "R^2 of a straight line through the activation's inputs and outputs, averaged over channels",
    }

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._inputs: dict[str, Tensor] = {}  # between an activation's two hooks

    def before_forward(self, recorder: Recorder) -> None:
        self._inputs.clear()  # of a pass that failed
        for name, activation in self.activations.items():
            recorder.on_input(activation, partial(self._keep_input, name, activation))
            recorder.on_output(activation, partial(self._record_moments, recorder, name))

    def _keep_input(self, name: str, activation: nn.Module, inputs: Tensor) -> None:
        values = inputs.detach()
        self._inputs[name] = values.clone() if getattr(activation, "inplace", False) else values

    def _record_moments(self, recorder: Recorder, name: str, output: Tensor) -> None:
        """Record (1, 6, C): count, means of inputs and outputs, and their centered sums of squares and products."""
        inputs = self._inputs.pop(name, None)
        if inputs is None or output.shape != inputs.shape:
            return
        rows = [values.detach().movedim(1, -1).reshape(-1, inputs.shape[1]) for values in (inputs, output)]
        x, y = (values if values.dtype == torch.float64 else values.float() for values in rows)
        mean_x, mean_y = x.mean(0), y.mean(0)
        x, y = x - mean_x, y - mean_y
        moments = [mean_x, mean_y, (x * x).sum(0), (x * y).sum(0), (y * y).sum(0)]
        recorder.record_array(f"_linearity/{name}", torch.stack([torch.full_like(mean_x, len(x)), *moments])[None])

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        for name in self.activations:
            moments = recorder.arrays.get(f"_linearity/{name}")
            if moments is None or not np.isfinite(moments).all():
                continue
            # (calls, 6, C): the activation may be called more than once in a pass, with batches of any size.
            n, mean_x, mean_y, xx, xy, yy = moments.astype(np.float64).swapaxes(0, 1)
            total = n.sum(axis=0)
            all_x, all_y = (n * mean_x).sum(axis=0) / total, (n * mean_y).sum(axis=0) / total
            x, y = mean_x - all_x, mean_y - all_y
            xx, xy, yy = ((s + n * a * b).sum(axis=0) for s, a, b in ((xx, x, x), (xy, x, y), (yy, y, y)))
            varied = xx > total * (MIN_RELATIVE_STD * all_x) ** 2
            varied &= yy > total * (MIN_RELATIVE_STD * all_y) ** 2
            r2 = np.ones_like(xx)
            r2[varied] = xy[varied] ** 2 / (xx[varied] * yy[varied])
            scalars[f"linearity/{name}"] = float(r2.mean())
        return Measurements(scalars)


ENTRY = Linearity
