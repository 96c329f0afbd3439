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
    """The input of a norm: its layer, and the shape of one sample, (C, H, W) or (F,)."""

    layer: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def positions(self) -> int:
        """H * W; 1 after a linear layer."""
        return math.prod(self.shape[1:])


@dataclass(frozen=True)
class Norm:
    """A norm that `norm` can choose. `Any` stands for the entry's own config class.

    axes: axes that share a mean and a variance, after a convolution and after a linear layer, such as "B,H,W" and "B"; C/G is a
    group of channels. Empty without a norm.
    problem: why the norm can't be used at a site, as a clause, and what to use instead, as a sentence. None if it can.
    build: creates the module, or None for no norm. Imports torch inside, so that checks stay fast.
    cancels_bias: whether a constant added to a channel right before the norm has no effect.
    uses_batch: whether a sample's output depends on the rest of the batch in training, and on running statistics in evaluation.
    """

    name: str
    title: str
    axes: tuple[str, str]
    problem: Callable[[Any, Site, int], tuple[str, str] | None]
    build: Callable[[Any, Site], Module | None]
    config: type[NormConfig] = NormConfig
    cancels_bias: bool = False
    uses_batch: bool = False

    def sizes(self, config: NormConfig, site: Site, batch_size: int) -> dict[str, int]:
        """The axes that share a mean and a variance at a site, and their sizes: {"B": 64, "H": 8, "W": 8}."""
        known = {"B": batch_size, "F": site.channels, **dict(zip("CHW", site.shape, strict=False))}
        known["C/G"] = known["F/G"] = site.channels // getattr(config, "groups", 1)
        axes = self.axes[0] if len(site.shape) == 3 else self.axes[1]
        return {axis: known[axis] for axis in axes.split(",") if axis}
