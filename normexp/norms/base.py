"""Registry entry of a norm. Module is torch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.config import NormConfig

if TYPE_CHECKING:
    from torch.nn import Module
else:  # torch is imported late
    Module = Any


@dataclass(frozen=True)
class Site:
    """The input of a norm: its layer, and the shape of one sample: (C, H, W), (F,), or (D, T) for T tokens of D channels.

    activated: whether the model puts an activation right before or after the norm, which `activates` replaces.
    repeats: number of heads of attention or time steps, each of which the norm sees as a sample of its own.
    gates: of a recurrent layer; one module normalizes each of them by itself, all with this shape, one after the other along
    the channels. steps: time steps at which that module is called, one after the other, in each forward pass.
    """

    layer: str
    shape: tuple[int, ...]
    activated: bool = True
    repeats: int = 1
    gates: int = 1
    steps: int = 1

    @property
    def channels(self) -> int:
        """Of each gate."""
        return self.shape[0]

    @property
    def all_channels(self) -> int:
        return self.gates * self.channels

    @property
    def positions(self) -> int:
        """H * W, or T; 1 after a linear layer."""
        return math.prod(self.shape[1:])

    def momentum(self, momentum: float, calls: int | None = None) -> float:
        """Weight of the newest of `calls` batches, by default one for each step, so that all of them together have the weight
        `momentum` in a running average."""
        calls = self.steps if calls is None else calls
        return momentum if calls == 1 else 1 - (1 - momentum) ** (1 / calls)


def gamma_and_beta(config: NormConfig, site: Site) -> int:
    """Number of parameters of a norm that learns a scale and a shift per channel if `norm.affine` is set."""
    return 2 * site.all_channels * config.affine


@dataclass(frozen=True)
class Norm:
    """A norm that `norm` can choose. `Any` stands for the entry's own config class.

    axes: axes that share a mean and a variance, after a convolution and after a linear layer, such as "B,H,W" and "B"; C/G is a
    group of channels. On tokens, T takes the place of H,W, and D that of C. Empty if nothing is averaged; joined by " + " if
    several statistics are mixed. A function of the config if they depend on it.
    problem: why the norm can't be used at a site, as a clause, and what to use instead, as a sentence. None if it can.
    build: creates the module, or None for no norm. Imports torch inside, so that checks stay fast.
    cancels_bias: whether a constant added to a channel right before the norm has no effect.
    uses_batch: whether a sample's output depends on the rest of the batch in training, and on running statistics in evaluation.
    activates: whether the norm is its own activation, so that layers leave out the one right before or after it.
    groups: number of groups of channels, which C/G in `axes` refers to.
    parameters: number of parameters at a site.
    samples: number of samples of a batch that share statistics, if B is among the axes.
    gated: whether its module can normalize each of several gates by itself.
    """

    name: str
    title: str
    axes: tuple[str, str] | Callable[[Any], tuple[str, str]]
    problem: Callable[[Any, Site, int], tuple[str, str] | None]
    build: Callable[[Any, Site], Module | None]
    config: type[NormConfig] = NormConfig
    cancels_bias: bool = False
    uses_batch: bool = False
    activates: bool = False
    groups: Callable[[Any, int], int] = lambda config, channels: 1
    parameters: Callable[[Any, Site], int] = gamma_and_beta
    samples: Callable[[Any, int], int] = lambda config, batch_size: batch_size
    gated: bool = False

    def axes_of(self, config: NormConfig) -> tuple[str, str]:
        """`axes` with this config."""
        return self.axes(config) if callable(self.axes) else self.axes

    def sizes(self, config: NormConfig, site: Site, batch_size: int) -> dict[str, int]:
        """The axes that share a mean and a variance at a site, and their sizes: {"B": 64, "H": 8, "W": 8}. Of several statistics,
        the first."""
        return self.all_sizes(config, site, batch_size)[0]

    def all_sizes(self, config: NormConfig, site: Site, batch_size: int) -> list[dict[str, int]]:
        """`sizes` of each of several statistics."""
        names = {1: "F", 2: "DT", 3: "CHW"}[len(site.shape)]
        known = {"B": self.samples(config, batch_size) * site.repeats, **dict(zip(names, site.shape, strict=True))}
        known[f"{names[0]}/G"] = site.channels // self.groups(config, site.channels)
        axes = self.axes_of(config)[len(site.shape) == 1]
        if names == "DT":
            axes = axes.replace("C,H,W", "T,D").replace("C/G,H,W", "T,D/G").replace("H,W", "T").replace("C", "D")
        return [{axis: known[axis] for axis in each.split(",") if axis} for each in axes.split(" + ")]
