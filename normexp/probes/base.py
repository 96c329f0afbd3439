"""Base class of the probes, and the recorder that they write to."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.hooks import RemovableHandle

from normexp.config import ProbeConfig
from normexp.models.base import matches
from normexp.probes.distribution import Distribution, Distributions, Floats
from normexp.probes.sampling import Sampler
from normexp.records import Chart, Histogram

CHUNK_SIZE = 1 << 17  # values to process at once if the computation copies them; fits into a CPU's cache


class ProbedLayer:
    """A layer and its parts, recognized by name; None for missing parts.

    norm_is_input: whether the norm's output is the activation's input, so it need not be recorded twice. observed: whether it
    only shows what the network computes elsewhere, and thus has no gradient.
    """

    def __init__(self, layer: nn.Module) -> None:
        parts = dict(layer.named_children())
        self.layer, self.weight = layer, parts.get("weight")
        self.norm, self.activation = parts.get("norm"), parts.get("activation")
        self.norm_is_input = ("norm", "activation") in pairwise(parts)
        self.observed = bool(getattr(getattr(layer, "plan", None), "observed", False))


def _called(module: nn.Module) -> list[nn.Module]:
    """The modules that are called instead of a list of modules, such as the norms of `norm.per_step`."""
    return list(module) if isinstance(module, nn.ModuleList) else [module]


def layer_weights(layers: Mapping[str, ProbedLayer]) -> dict[str, nn.Parameter]:
    """Trained weight of each linear layer and convolution."""
    weights = {name: trained_weight(layer.weight) for name, layer in layers.items() if layer.weight is not None}
    return {name: weight for name, weight in weights.items() if isinstance(weight, nn.Parameter)}


def trained_weight(module: nn.Module) -> object:
    """The weight that the optimizer updates. If it is normalized (`weight=ws` and the like), that is the tensor from which the
    effective weight is computed; of weight norm, v. Reading the effective one would compute it, and advance the power method of
    spectral norm."""
    if not is_parametrized(module, "weight"):
        return getattr(module, "weight", None)
    originals = module.get_submodule("parametrizations.weight").parameters(recurse=False)
    return list(originals)[-1]  # g, v


def filter_gains(module: nn.Module | None) -> nn.Parameter | None:
    """The learned scale of each filter of a normalized weight: the gain of `weight=sws`, or g of weight norm."""
    if module is None or not is_parametrized(module, "weight"):
        return None
    parametrization = module.get_submodule("parametrizations.weight")
    first, *more = parametrization.parameters(recurse=False)
    gains = first if more else getattr(parametrization.get_submodule("0"), "gain", None)
    return gains if isinstance(gains, nn.Parameter) else None


def chunks(values: Tensor) -> Sequence[Tensor]:
    """Split a large tensor (B, ...) along its first axis. Not on a GPU, where each chunk would launch kernels."""
    if values.is_cuda or values.numel() <= CHUNK_SIZE:
        return [values]
    parts: Sequence[Tensor] = values.split(max(1, CHUNK_SIZE * len(values) // values.numel()))
    return parts


def power_spaced(count: int, last: int) -> list[int]:
    """At most `count` steps from 1 to `last`, denser at the beginning: i^p for i = 1 to count, rounded, with count^p = last.

    The distance to the next step is about p/i of the step, so it shrinks along the sequence. Logarithmic steps would keep it
    constant: 10 of them up to step 1000 are a factor of 2 apart, too coarse to tell when a network has learned.
    """
    power = math.log(last) / math.log(count)
    return sorted({round(i**power) for i in range(1, count + 1)})


@cache
def early_steps(count: int, every: int) -> frozenset[int]:
    """At most `count` steps between 1 and `every`, denser at the beginning."""
    return frozenset(power_spaced(count + 2, every)[1:-1])


def is_due(step: int, total: int, every: int | None, early: int = 0) -> bool:
    """Whether a step is the first, the last, a multiple of `every`, or one of `early` steps before the first multiple. Never if
    `every` is None."""
    if every is None:
        return False
    return step == 1 or step % every == 0 or step == total or (step < every and step in early_steps(early, every))


@dataclass(frozen=True)
class Step:
    """Inputs of a training step.

    number: 1 to total. inputs, labels: of the whole batch, which is computed in `accumulate` micro-batches. lr: the peak of the
    schedule, not the step's own. autocast: context for a forward pass. loss_scale: factor on the loss in the backward pass; the
    parameters' gradients are already divided by it.
    """

    number: int
    total: int
    model: nn.Module
    inputs: Tensor
    labels: Tensor
    lr: float
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    loss_scale: Tensor | float = 1.0
    accumulate: int = 1

    def micro_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels of each micro-batch."""
        size = len(self.inputs) // self.accumulate
        return zip(self.inputs.split(size), self.labels.split(size), strict=True)


class Recorder:
    """Scalars, arrays and samples of one step, by tag.

    They stay on the device until `scalars`, `arrays` or `distributions` is first read, which transfers all of them at once.
    Tags with a leading `_` are private to the probe that recorded them and are not reported.
    """

    def __init__(self, step: Step, sampler: Sampler, describe: Distributions) -> None:
        self.step = step
        self.layer_order: list[str] = []
        self.hooks: list[RemovableHandle] = []
        self._sampler, self._describe = sampler, describe
        self._sampled: set[str] = set()
        self._scalars: dict[str, Tensor] = {}
        self._arrays: dict[str, list[Tensor]] = {}

    def start_micro_batch(self, number: int) -> None:
        """The hooks will be called for this micro-batch of the step, 0 to accumulate - 1."""
        self._sampler.start_micro_batch(number)

    def add_hook(self, handle: RemovableHandle) -> None:
        """Register a hook, which is called for each micro-batch and removed after the last one."""
        self.hooks.append(handle)

    def on_input(self, module: nn.Module, hook: Callable[[Tensor], None]) -> None:
        """Call the hook with the module's input (B, C, ...), before the module, which may work in place."""

        def call(_: nn.Module, args: tuple[object, ...]) -> None:
            if isinstance(args[0], Tensor):  # a user's module may expect something else
                hook(args[0])

        for each in _called(module):
            self.add_hook(each.register_forward_pre_hook(call))

    def on_output(self, module: nn.Module, hook: Callable[[Tensor], None]) -> None:
        """Call the hook with the module's output (B, C, ...)."""
        self.on_call(module, hook)

    def on_call(self, module: nn.Module, hook: Callable[[Tensor], None]) -> None:
        """Call the hook with the very tensor that the module returns, whatever its layout, to hook its gradient."""

        def call(_: nn.Module, args: object, output: object) -> None:
            if isinstance(output, Tensor):
                hook(output)

        for each in _called(module):
            self.add_hook(each.register_forward_hook(call))

    def sample_input(self, tag: str, module: nn.Module) -> None:
        """Sample the module's input each time it is called in this pass. Several probes may ask for the same tag."""
        if tag not in self._sampled:
            self._sampled.add(tag)
            self.on_input(module, partial(self.record_sample, tag))

    def sample_output(self, tag: str, module: nn.Module) -> None:
        """Sample the module's output each time it is called in this pass."""
        if tag not in self._sampled:
            self._sampled.add(tag)
            self.on_output(module, partial(self.record_sample, tag))

    def record_sample(self, tag: str, values: Tensor) -> None:
        """Record a sample of (B, C, ...): shape (n, C) if it holds all values, else (n, 1)."""
        self.record_array(tag, self._sampler(values))

    def record_layer(self, name: str) -> None:
        """Note that a layer was called. `layer_order` lists the layers in the order of their first call."""
        if name not in self.layer_order:
            self.layer_order.append(name)

    def record_array(self, tag: str, values: Tensor) -> None:
        """Append rows to the array of this tag. Pass a copy if training may change the values."""
        supported = values.dtype in (torch.float32, torch.float64)  # numpy has no bfloat16
        self._arrays.setdefault(tag, []).append(values if supported else values.float())

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

    def scalars_by_layer(self, group: str) -> dict[str, float]:
        """The scalars with the tags GROUP/LAYER."""
        prefix = f"{group}/"
        return {tag.removeprefix(prefix): value for tag, value in self.scalars.items() if tag.startswith(prefix)}

    @cached_property
    def arrays(self) -> dict[str, Floats]:
        """The recorded arrays, including samples."""
        if not self._arrays:
            return {}
        values = torch.cat([part.flatten() for parts in self._arrays.values() for part in parts]).cpu().numpy()
        arrays, start = {}, 0
        for tag, parts in self._arrays.items():
            end = start + sum(part.numel() for part in parts)
            if len({part.shape[1:] for part in parts}) == 1:
                arrays[tag] = values[start:end].reshape(-1, *parts[0].shape[1:])
            elif not tag.startswith("_"):  # the layer was called with batches of different shapes: flatten
                arrays[tag] = values[start:end].reshape(-1, 1)
            start = end
        return arrays

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """Distributions of all arrays, except those with a leading `_`."""
        return self._describe({tag: values for tag, values in self.arrays.items() if not tag.startswith("_")})


@dataclass(frozen=True)
class Measurements:
    """Scalars and histograms by tag. None stands for an undefined value."""

    scalars: Mapping[str, float | None] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


class Probe:
    """Base class of all probes. A run has one instance; its methods are called in the order below.

    `before_forward`, `after_backward` and `after_update` record tensors, which stay on the device (`recorder.record`,
    `record_array`, `sample_input`, ...). Only `report` reads numbers. A probe must not change anything that training depends on:
    weights, buffers, or the state of torch's random generators.
    """

    titles: ClassVar[Mapping[str, str]] = {}
    """Titles of charts with one line per layer, by the first part of their tags."""

    meanings: ClassVar[Mapping[str, str]] = {}
    """Meaning of each metric, for `normexp metrics`; LAYER stands for any layer, and later parts of a tag are left out. Must be a
    literal, because it is parsed without importing the file."""

    def __init__(self, network: Mapping[str, ProbedLayer], config: ProbeConfig) -> None:
        """network: all layers by name. Sets `layers`, those that `config.layers` selects for per-layer tags, `activations`,
        theirs by layer, and `last`, tensors and plain values that the next snapshot needs."""
        self.network, self.config = network, config
        self.layers = {name: layer for name, layer in network.items() if matches(name, config.layers)}
        self.activations = {name: p.activation for name, p in self.layers.items() if p.activation is not None}
        self.last: dict[str, Any] = {}

    def due(self, step: int, total: int) -> bool:
        """Whether to record this step (1 to total)."""
        return is_due(step, total, self.config.every, self.config.early)

    def before_forward(self, recorder: Recorder) -> None:
        """Attach hooks with `recorder.on_input` and `on_output`, which bring any network's values to (B, C, ...), or with
        `add_hook`, which `normexp.watch` also calls in evaluations. They are called for each micro-batch, and removed after the
        last one. What they append with `record_array` and the samples is of the whole batch; a scalar must be added up."""

    def after_backward(self, recorder: Recorder) -> None:
        """Record gradients before clipping."""

    def after_update(self, recorder: Recorder) -> None:
        """Record the updated weights."""

    def report(self, recorder: Recorder) -> Measurements:
        """Measurements in addition to the scalars that were recorded under public tags."""
        return Measurements()

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return dict(self.last)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.last = dict(state)

    def charts(self) -> list[Chart]:
        """Charts that show several of the probe's scalars together."""
        return [Chart("Whole network", title, lines=[f"{group}/.*"]) for group, title in self.titles.items()]
