"""One step that is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from normexp.config import ProbeConfig
from normexp.probes import load, switched_on
from normexp.probes.base import Findings, Probe, watched
from normexp.probes.distribution import Distribution, Distributions, Floats
from normexp.probes.subsample import Sampler
from normexp.records import Chart, Histogram


@dataclass(frozen=True)
class Step:
    """What a step works on. number: from 1 to total. lr: the highest of the schedule, not the step's own.

    autocast: the context of a forward pass. loss_scale: what gradients are multiplied by on their way back; those of
    parameters have been divided by it.
    """

    number: int
    total: int
    model: nn.Module
    inputs: Tensor
    labels: Tensor
    lr: float
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    loss_scale: Tensor | float = 1.0


class Removable(Protocol):
    def remove(self) -> None: ...


class Look:
    """A context around the step's forward pass; the hooks are gone when it ends.

    What hooks and probes leave with it stays on the device until `findings` fetches it, all at once.
    """

    def __init__(self, step: Step, probes: Sequence[Probe], sampler: Sampler, describe: Distributions) -> None:
        self.step = step
        self._probes, self._sampler, self._describe = probes, sampler, describe
        self._hooks: list[Removable] = []
        self.order: list[str] = []
        self._asked: set[str] = set()
        self._numbers: dict[str, Tensor] = {}
        self._arrays: dict[str, list[Tensor]] = {}

    def __enter__(self) -> Look:
        for probe in self._probes:
            probe.before(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def hook(self, handle: Removable) -> None:
        """A hook to take away when the forward pass is over."""
        self._hooks.append(handle)

    def watch_input(self, tag: str, module: nn.Module) -> None:
        """Sample what enters a module in this pass, each time that it is used."""
        if tag not in self._asked:  # probes may ask for the same
            self._asked.add(tag)
            # In front of the module, which may work in place.
            self.hook(module.register_forward_pre_hook(lambda _, args: self.sample(tag, args[0])))

    def watch_output(self, tag: str, module: nn.Module) -> None:
        """Sample what leaves a module in this pass, each time that it is used."""
        if tag not in self._asked:
            self._asked.add(tag)
            self.hook(module.register_forward_hook(lambda _, args, output: self.sample(tag, output)))

    def sample(self, tag: str, values: Tensor) -> None:
        """Add a sample of the values, (B, C, ...), to those of a tag, as an array (n, C) of all values or (n, 1) of some."""
        if isinstance(values, Tensor):  # somebody's own module may bring something else
            self.keep_array(tag, self._sampler(values))

    def used(self, name: str) -> None:
        """Take down that a layer was used; `order` has the names as they were first used."""
        if name not in self.order:
            self.order.append(name)

    def keep_array(self, tag: str, values: Tensor) -> None:
        """Add the rows of an array, on the device, to those of a tag; of a copy, where training may change it."""
        wide = values.dtype in (torch.float32, torch.float64)  # NumPy knows no bfloat16
        self._arrays.setdefault(tag, []).append(values if wide else values.float())

    def keep(self, tag: str, value: Tensor) -> None:
        """Report a number, on the device, under a tag; one that begins with `_` is for the probe's own report alone."""
        self._numbers[tag] = value

    def kept(self, tag: str) -> Tensor | None:
        """What was kept under a tag, if anything."""
        return self._numbers.get(tag)

    def gradients(self) -> None:
        for probe in self._probes:
            probe.gradients(self)

    def updated(self) -> None:
        for probe in self._probes:
            probe.updated(self)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """What was kept, by tag."""
        if not self._numbers:
            return {}
        return dict(zip(self._numbers, torch.stack([n.double() for n in self._numbers.values()]).tolist(), strict=True))

    @cached_property
    def arrays(self) -> dict[str, Floats]:
        """The arrays that were kept, and the samples, by tag."""
        if not self._arrays:
            return {}
        fetched = torch.cat([part.flatten() for parts in self._arrays.values() for part in parts]).cpu().numpy()
        found, start = {}, 0
        for tag, parts in self._arrays.items():
            end = start + sum(part.numel() for part in parts)
            if len({part.shape[1:] for part in parts}) == 1:
                found[tag] = fetched[start:end].reshape(-1, *parts[0].shape[1:])
            elif not tag.startswith("_"):  # a layer used on batches of different shapes: as one set of values
                found[tag] = fetched[start:end].reshape(-1, 1)
            start = end
        return found

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """Of all arrays but those whose tag begins with `_`."""
        return self._describe({tag: values for tag, values in self.arrays.items() if not tag.startswith("_")})

    def findings(self) -> Findings:
        """All that the probes found, as Python's own numbers, which a checkpoint can hold."""
        scalars: dict[str, float | None] = {t: value for t, value in self.numbers.items() if not t.startswith("_")}
        histograms: dict[str, Histogram] = {}
        for probe in self._probes:
            found = probe.report(self)
            scalars |= {t: v.item() if isinstance(v, np.generic) else v for t, v in found.scalars.items()}
            histograms |= found.histograms
        return Findings(scalars, histograms)


class Probes:
    """The probes that a config has switched on, over a network's layers."""

    def __init__(self, layers: Mapping[str, nn.Module], config: ProbeConfig, *, seed: int) -> None:
        network = {name: watched(layer) for name, layer in layers.items()}
        self._by_name = {name: load(name)(network, config) for name in switched_on(config)}
        self._probes = list(self._by_name.values())
        self._sampler, self._describe = Sampler(config.samples, seed=seed), Distributions()

    def look(self, step: Step) -> Look | None:
        """The look at a step; None where no probe is due."""
        probes = [probe for probe in self._probes if probe.due(step.number, step.total)]
        self._sampler.start(step.number)
        return Look(step, probes, self._sampler, self._describe) if probes else None

    def state_dict(self) -> dict[str, Any]:
        """What later looks need of those before, for a checkpoint."""
        bins = self._describe.state_dict()
        return {"bins": bins, "probes": {name: probe.state_dict() for name, probe in self._by_name.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._describe.load_state_dict(state["bins"])
        for name, probe in self._by_name.items():
            probe.load_state_dict(state["probes"][name])

    def charts(self) -> list[Chart]:
        return [chart for probe in self._probes for chart in probe.charts()]
