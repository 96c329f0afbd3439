"""What a norm is to the rest of the program."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.config import NormConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Site:
    """Where a norm sits: behind which layer, and the shape of one sample there: (C, H, W) or (F,)."""

    layer: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def positions(self) -> int:
        """H * W; 1 behind a linear layer."""
        return math.prod(self.shape[1:])


@dataclass(frozen=True)
class Norm:
    """An entry of the table of norms. `Any` stands for the entry's own config class.

    axes: what one mean and one variance are taken over, behind a convolution and behind a linear layer.
    values: how many numbers that is, at a site and a batch size; 0 without a norm.
    problem: what is wrong with the norm at a site, as a clause, and what would work, as a sentence; None where it works.
    build: the module; None where there is nothing to do. torch is imported inside it, so that checks stay quick.
    """

    name: str
    title: str
    config: type[NormConfig]
    axes: tuple[str, str]
    values: Callable[[Any, Site, int], int]
    problem: Callable[[Any, Site, int], tuple[str, str] | None]
    build: Callable[[Any, Site], nn.Module | None]
    cancels_bias: bool = False
    """Whether a constant added to a channel right before the norm has no effect, in any configuration."""
    uses_batch: bool = False
    """Whether a sample's output depends on the other samples of the batch in training, and on running statistics afterwards."""
