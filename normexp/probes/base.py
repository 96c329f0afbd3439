"""Base class of the probes, and helpers that several of them use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from normexp.config import ProbeConfig
from normexp.records import Chart, Histogram

if TYPE_CHECKING:
    from normexp.probes.recorder import Recorder


@dataclass(frozen=True)
class ProbedLayer:
    """A layer and its parts; None for parts that it doesn't have.

    norm_is_input: whether the norm's output is the activation's input, so that it need not be recorded twice.
    """

    layer: nn.Module
    weight: nn.Module | None
    norm: nn.Module | None
    activation: nn.Module | None
    norm_is_input: bool


def probed_layer(layer: nn.Module) -> ProbedLayer:
    """The layer with its parts, which are recognized by name."""
    parts = dict(layer.named_children())
    names = list(parts)
    norm_is_input = "norm" in parts and names[names.index("norm") + 1 :][:1] == ["activation"]
    return ProbedLayer(layer, parts.get("weight"), parts.get("norm"), parts.get("activation"), norm_is_input)


CHUNK_SIZE = 1 << 17
"""Values to process at once where the computation copies them: a chunk fits into a CPU's cache."""


def chunks(values: Tensor) -> Sequence[Tensor]:
    """Split a large tensor (B, ...) along its first axis. On a GPU it stays whole, since each chunk would launch kernels."""
    if values.is_cuda or values.numel() <= CHUNK_SIZE:
        return [values]
    parts: Sequence[Tensor] = values.split(max(1, CHUNK_SIZE * len(values) // values.numel()))
    return parts


def layer_weights(layers: Mapping[str, ProbedLayer]) -> dict[str, nn.Parameter]:
    """Weight, without the bias, of each linear layer and convolution."""
    weights = {name: getattr(layer.weight, "weight", None) for name, layer in layers.items()}
    return {name: weight for name, weight in weights.items() if isinstance(weight, nn.Parameter)}


@dataclass(frozen=True)
class Measurements:
    """Scalars and histograms by tag. None stands for an undefined value."""

    scalars: Mapping[str, float | None] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


class Probe:
    """Base class of all probes. A run has one instance, whose methods are called in the order in which they stand here.

    The first three record tensors, which stay on the device (`recorder.record`, `record_array`, `sample_input`, ...). Only
    `report` reads numbers. A probe must not change anything that training depends on: weights, buffers, or the state of torch's
    random generators.
    """

    titles: ClassVar[Mapping[str, str]] = {}
    """Titles of the charts with one line per layer, by the first part of their tags."""

    def __init__(self, network: Mapping[str, ProbedLayer], config: ProbeConfig) -> None:
        """network: all layers by name. `self.layers`: those that `config.layers` selects; per-layer tags are for these."""
        self.network, self.config = network, config
        selected = [name for name in network if any(fnmatchcase(name, pattern) for pattern in config.layers)]
        self.layers = {name: network[name] for name in selected}

    def due(self, step: int, total: int) -> bool:
        """Whether to record this step (1 to total)."""
        return is_due(step, total, self.config.every)

    def before_forward(self, recorder: Recorder) -> None:
        """Attach hooks with `recorder.add_hook`. They are removed after the forward pass."""

    def after_backward(self, recorder: Recorder) -> None:
        """Record gradients, before clipping."""

    def after_update(self, recorder: Recorder) -> None:
        """Record the updated weights."""

    def report(self, recorder: Recorder) -> Measurements:
        """Measurements besides the scalars that were recorded under public tags."""
        return Measurements()

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values that the next snapshot needs, for a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from `state_dict`."""

    def charts(self) -> list[Chart]:
        """Charts that show several of the probe's scalars together."""
        return [Chart("Whole network", title, lines=[f"{group}/.*"]) for group, title in self.titles.items()]


def is_due(step: int, total: int, every: int | None) -> bool:
    """True for the first step, the last, and every `every`-th one. Never, if `every` is None."""
    return every is not None and (step == 1 or step % every == 0 or step == total)
