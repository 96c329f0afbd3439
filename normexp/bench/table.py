"""What was measured, on the terminal: a table for each model, and what its numbers are."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.bench.cases import REFERENCE, Skipped
from normexp.bench.results import PHASES, Measured, together
from normexp.data import DATA

if TYPE_CHECKING:
    from normexp.bench.results import Spread

UNSTEADY = 0.1
"""From what spread on there is a note: two norms that differ by less can't be told apart."""


def show(
    console: Console,
    measured: Sequence[Measured],
    skipped: Sequence[Skipped],
    *,
    repeats: int,
    block: float,
    made_with: str,
) -> None:
    """Print everything. made_with: the machine and the versions, in words."""
    for _, group in groupby(measured, key=lambda each: each.model):
        of_model = list(group)
        _say(console, f"[bold]{_heading(of_model)}[/]")
        console.print(_table(of_model))
        _say(console, f"{_parameters(of_model)}\n")
    about = (
        "none: milliseconds a step, and what the forward pass keeps in memory for the backward pass. Others: ratio to none in "
        f"the same round, median ± half the distance between the quartiles of {repeats} rounds; a timed block lasts "
        f"{1e3 * block:.0f} ms or more."
    )
    if any(costs.folded for each in measured for costs in each.costs.values()):
        about += " folded: inference with batch norms as a part of the layers in front of them, as far as there are such layers."
    console.print(about)
    if _unsteady(measured) > UNSTEADY:
        console.print(
            Text.assemble(
                ("note", "yellow"), "  The ratios vary much from round to round, as where other programs run: "
            )
            + Text("wait for a quiet machine, or take more rounds (--repeats) and larger batches.")
        )
    for where, reason in together(skipped):
        console.print(Text.assemble(("skipped", "yellow"), f"  {where}: {reason}"))
    _say(console, made_with)


def _unsteady(measured: Sequence[Measured]) -> float:
    """The median of all ratios' spreads, each as a part of its ratio; 0 without any ratio."""
    ratios = [of.ratio(norm, phase) for of in measured for norm in of.costs if norm != REFERENCE for phase in PHASES]
    return statistics.median([ratio.half / ratio.median for ratio in ratios if ratio is not None] or [0.0])


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _heading(measured: Sequence[Measured]) -> str:
    first = measured[0]
    shape = "x".join(map(str, DATA[first.data].shape))
    where = first.device
    if where == "cpu":
        threads = list(dict.fromkeys(str(each.threads) for each in measured))
        by_size = "1 thread" if threads == ["1"] else f"{' or '.join(threads)} threads"
        where = f"{by_size}, by batch size" if len(threads) > 1 else by_size
    return f"{first.model} on {first.data} ({shape}), {where}"


def _table(measured: Iterable[Measured]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("batch", "norm", *PHASES, "memory"):
        table.add_column(name, no_wrap=True, justify="left" if name == "norm" else "right")
    for of in measured:
        for norm in of.costs:
            size = str(of.batch_size) if norm == REFERENCE else ""
            cells = _absolute(of) if norm == REFERENCE else _relative(of, norm)
            table.add_row(size, norm, *cells, style="dim" if norm == REFERENCE else None)
    return table


def _absolute(of: Measured) -> list[str]:
    costs = of.costs[REFERENCE]
    times = [
        f"{_three(1e3 * sorted(seconds)[len(seconds) // 2])} ms"
        for seconds in (costs.forward, costs.backward, costs.inference)
    ]
    return [*times, "", _size(costs.saved_bytes)]


def _relative(of: Measured, norm: str) -> list[str]:
    memory = of.memory(norm)
    return [*(_ratio(of.ratio(norm, phase)) for phase in PHASES), "" if memory is None else f"{memory:.2f}"]


def _ratio(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.median:.2f} ±{spread.half:.2f}"


def _size(count: int) -> str:
    """Bytes as '12.3 KiB' or '1.23 MiB'."""
    return f"{_three(count / 2**10)} KiB" if count < 2**20 / 10 else f"{_three(count / 2**20)} MiB"


def _three(value: float) -> str:
    """Three digits: 0.0123, 1.23, 123, 1230."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _parameters(measured: Sequence[Measured]) -> str:
    """'23,946 parameters without a norm, bn +112, ln +224'."""
    costs = {norm: each for of in measured for norm, each in of.costs.items()}
    reference = costs[REFERENCE].parameters
    more = [f"{norm} {each.parameters - reference:+,}" for norm, each in costs.items() if norm != REFERENCE]
    return ", ".join([f"{reference:,} parameters without a norm", *more])
