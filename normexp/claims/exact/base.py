"""The interface of exact claims: a seeded computation that returns numbers, tables and optionally a drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from normexp.claims.verdict import Table
from normexp.streams import stream_seed


@dataclass(frozen=True)
class ExactResult:
    """The result of an exact claim for one seed.

    numbers: the values that the rule tests, by name; every seed has the same names. tables: the formula applied to this
    seed's data. drawing: plain text, at most 78 columns wide.
    """

    numbers: Mapping[str, float]
    tables: tuple[Table, ...]
    drawing: str | None = None


@dataclass(frozen=True)
class ExactClaim:
    """A claim that is computed. computation: draws its data from torch's default generator, in float64."""

    name: str
    computation: Callable[[], ExactResult]

    def compute(self, seed: int) -> ExactResult:
        """Run the computation with the claim's random stream, on one thread so that rounding is reproducible.

        The state of torch's generator and the number of threads are restored afterwards.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream_seed(seed, "exact claim", self.name.replace("-", "_")))
                return self.computation()
        finally:
            torch.set_num_threads(threads)
