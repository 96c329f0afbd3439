"""What a probe is: something that is measured inside the network, on the steps that are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from normexp.config import ProbeConfig
from normexp.records import Chart, Histogram

if TYPE_CHECKING:
    from normexp.probes.recorder import Look


@dataclass(frozen=True)
class Watched:
    """A layer that is looked at, and its parts; None for those that it doesn't have.

    norm_is_input: whether the norm's output is what enters the activation, so that it need not be shown twice.
    """

    layer: nn.Module
    weight: nn.Module | None
    norm: nn.Module | None
    activation: nn.Module | None
    norm_is_input: bool


def watched(layer: nn.Module) -> Watched:
    """A layer with its parts, by their names."""
    parts = dict(layer.named_children())
    names = list(parts)
    follows = "norm" in parts and names[names.index("norm") + 1 :][:1] == ["activation"]
    return Watched(layer, parts.get("weight"), parts.get("norm"), parts.get("activation"), follows)


PIECE = 1 << 17
"""Values that are worked on at once where the work takes a copy of them: as much as fits into a CPU's cache."""


def pieces(values: Tensor) -> Sequence[Tensor]:
    """A large tensor (B, ...) as several smaller ones; on a GPU, where each piece would cost kernel launches, as it is."""
    if values.is_cuda or values.numel() <= PIECE:
        return [values]
    found: Sequence[Tensor] = values.split(max(1, PIECE * len(values) // values.numel()))
    return found


def weights_of(layers: Mapping[str, Watched]) -> dict[str, nn.Parameter]:
    """The weight, without the bias, of each layer's linear map or convolution."""
    found = {name: getattr(layer.weight, "weight", None) for name, layer in layers.items()}
    return {name: weight for name, weight in found.items() if isinstance(weight, nn.Parameter)}


@dataclass(frozen=True)
class Findings:
    """Numbers and histograms by their tags. None: not defined here."""

    scalars: Mapping[str, float | None] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


class Probe:
    """The base of all probes: one object for a run, whose methods a look calls in the order in which they stand here.

    `before`, `gradients` and `updated` may leave tensors with the look (`look.keep`, `look.sample`), which fetches all of
    them at once; only `report` sees numbers. A probe changes nothing that training depends on: no weights, no buffers, and
    none of torch's random generators.
    """

    titles: ClassVar[Mapping[str, str]] = {}
    """Of the charts with a line for each layer, by the group of tags that they show."""

    def __init__(self, network: Mapping[str, Watched], config: ProbeConfig) -> None:
        """network: all layers. What is said of single layers is said of those that `config.layers` chooses, `self.layers`."""
        self.network, self.config = network, config
        chosen = [name for name in network if any(fnmatchcase(name, pattern) for pattern in config.layers)]
        self.layers = {name: network[name] for name in chosen}

    def due(self, step: int, total: int) -> bool:
        """Whether to take part in the look at a step, from 1 to the last."""
        return due(step, total, self.config.every)

    def before(self, look: Look) -> None:
        """Before the forward pass: hooks on modules, by `look.hook`, which takes them away behind it."""

    def gradients(self, look: Look) -> None:
        """Behind the backward pass, before clipping: parameters have their gradients."""

    def updated(self, look: Look) -> None:
        """Behind the update."""

    def report(self, look: Look) -> Findings:
        """What was found beside the tensors that were kept under their own tags."""
        return Findings()

    def state_dict(self) -> dict[str, Any]:
        """What the next look needs of the looks before: tensors and plain values, which a checkpoint keeps."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""

    def charts(self) -> list[Chart]:
        """Pictures of several of the probe's scalars at once, where that is how one looks at them."""
        return [Chart("Whole network", title, lines=[f"{group}/.*"]) for group, title in self.titles.items()]


def due(step: int, total: int, every: int | None) -> bool:
    """In the first step, the last, and every so many between; never, where `every` is None."""
    return every is not None and (step == 1 or step % every == 0 or step == total)
