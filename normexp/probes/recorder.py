"""Collects the tensors that probes record at one step. Knows no probes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from normexp.probes.distribution import Distribution, Distributions, Floats
from normexp.probes.subsample import Sampler


@dataclass(frozen=True)
class Step:
    """Inputs of a training step.

    number: 1 to total. lr: the peak of the schedule, not the step's own. autocast: context of a forward pass.
    loss_scale: factor on the gradients that flow back; the parameters' gradients have been divided by it already.
    """

    number: int
    total: int
    model: nn.Module
    inputs: Tensor
    labels: Tensor
    lr: float
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    loss_scale: Tensor | float = 1.0


class Handle(Protocol):
    """A hook's handle, as torch returns it."""

    def remove(self) -> None: ...


class Recorder:
    """Scalars, arrays and samples of one step, by tag.

    They stay on the device until `scalars`, `arrays` or `distributions` is first read, which transfers all of them at once.
    Tags with a leading `_` are for the probe that recorded them and are not reported.
    """

    def __init__(self, step: Step, sampler: Sampler, describe: Distributions) -> None:
        self.step = step
        self.layer_order: list[str] = []
        self._sampler, self._describe = sampler, describe
        self._handles: list[Handle] = []
        self._sampled: set[str] = set()
        self._scalars: dict[str, Tensor] = {}
        self._arrays: dict[str, list[Tensor]] = {}

    def add_hook(self, handle: Handle) -> None:
        """Remove this hook after the forward pass."""
        self._handles.append(handle)

    def remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()

    def sample_input(self, tag: str, module: nn.Module) -> None:
        """Sample the module's input each time it is called in this pass. Several probes may ask for the same tag."""
        if tag not in self._sampled:
            self._sampled.add(tag)
            # Before the module runs, since it may work in place.
            self.add_hook(module.register_forward_pre_hook(lambda _, args: self.record_sample(tag, args[0])))

    def sample_output(self, tag: str, module: nn.Module) -> None:
        """Sample the module's output each time it is called in this pass."""
        if tag not in self._sampled:
            self._sampled.add(tag)
            self.add_hook(module.register_forward_hook(lambda _, args, output: self.record_sample(tag, output)))

    def record_sample(self, tag: str, values: Tensor) -> None:
        """Record a sample of (B, C, ...): shape (n, C) if it holds all values, else (n, 1)."""
        if isinstance(values, Tensor):  # a user's module may return something else
            self.record_array(tag, self._sampler(values))

    def record_layer(self, name: str) -> None:
        """Note that a layer was called. `layer_order` lists the layers in the order of their first call."""
        if name not in self.layer_order:
            self.layer_order.append(name)

    def record_array(self, tag: str, values: Tensor) -> None:
        """Append rows to the array of this tag. Pass a copy if training may change the values."""
        numpy_has_it = values.dtype in (torch.float32, torch.float64)  # not bfloat16
        self._arrays.setdefault(tag, []).append(values if numpy_has_it else values.float())

    def record(self, tag: str, value: Tensor) -> None:
        """Record a scalar, a tensor without dimensions."""
        self._scalars[tag] = value

    def recorded(self, tag: str) -> Tensor | None:
        """The scalar recorded so far under this tag."""
        return self._scalars.get(tag)

    @cached_property
    def scalars(self) -> dict[str, float]:
        if not self._scalars:
            return {}
        return dict(zip(self._scalars, torch.stack([s.double() for s in self._scalars.values()]).tolist(), strict=True))

    @cached_property
    def arrays(self) -> dict[str, Floats]:
        """The recorded arrays, samples included."""
        if not self._arrays:
            return {}
        values = torch.cat([part.flatten() for parts in self._arrays.values() for part in parts]).cpu().numpy()
        arrays, start = {}, 0
        for tag, parts in self._arrays.items():
            end = start + sum(part.numel() for part in parts)
            if len({part.shape[1:] for part in parts}) == 1:
                arrays[tag] = values[start:end].reshape(-1, *parts[0].shape[1:])
            elif not tag.startswith("_"):  # a layer called with batches of different shapes: one set of values
                arrays[tag] = values[start:end].reshape(-1, 1)
            start = end
        return arrays

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """Of all arrays, except those with a leading `_`."""
        return self._describe({tag: values for tag, values in self.arrays.items() if not tag.startswith("_")})
