"""What an exact claim is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from normexp.streams import stream_seed


@dataclass(frozen=True)
class Table:
    """Numbers side by side, for people."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int, ...], ...]


@dataclass(frozen=True)
class Worked:
    """What came of a claim's computation with one seed.

    numbers: what the rule compares, by name; the same names for every seed. tables: the formula at work on this seed's data.
    drawing: plain text of at most 78 columns.
    """

    numbers: Mapping[str, float]
    tables: tuple[Table, ...]
    drawing: str | None = None


@dataclass(frozen=True)
class Exact:
    """An entry of the table of exact claims.

    compute: its numbers, of data drawn from a seed, in float64. torch is imported inside it, so that the table is quick to
    import.
    """

    name: str
    compute: Callable[[int], Worked]


def seeded(work: Callable[[int], Worked]) -> Callable[[int], Worked]:
    """Run `work` with torch's generator at the start of the claim's stream and on one thread, so that every call gives the same
    numbers on the same machine. Both are restored afterwards."""

    def compute(seed: int) -> Worked:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream_seed(seed, "exact claim", work.__module__.rpartition(".")[2]))
                return work(seed)
        finally:
            torch.set_num_threads(threads)

    return compute
