"""Terminal output of `normexp bench`: a table for each model, and an explanation of its numbers."""

import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.bench.cases import REFERENCE, Skipped
from normexp.bench.results import MIN_BLOCK_SECONDS, PHASES, CaseResult

NOISY_SPREAD = 0.1  # relative spread of the ratios above which a note warns about noise


def print_results(
    console: Console, results: Sequence[CaseResult], skipped: Sequence[Skipped], *, repeats: int, machine: str
) -> None:
    """Print all results. machine: description of processor and versions."""
    for _, group in groupby(results, key=lambda result: result.model):
        of_model = list(group)
        console.print(f"[bold]{_heading(of_model)}[/]", soft_wrap=True)
        console.print(_table(of_model))
        parameters = {norm: costs.parameters for result in of_model for norm, costs in result.costs.items()}
        reference = parameters.pop(REFERENCE)
        added = [f"{norm} {count - reference:+,}" for norm, count in parameters.items()]
        console.print(f"{', '.join([f'{reference:,} parameters without a norm', *added])}\n")
    about = (
        "none: milliseconds per step, and memory that the forward pass saves for the backward pass. Others: ratio to none "
        f"in the same round, median ± half the interquartile range of {repeats} rounds. Each timed block takes at least "
        f"{1e3 * MIN_BLOCK_SECONDS:.0f} ms."
    )
    if any(costs.seconds["folded"] for result in results for costs in result.costs.values()):
        about += " folded: inference with batch norms folded into the preceding layers."
    console.print(about)
    ratios = [result.ratio(norm, p) for result in results for norm in result.costs if norm != REFERENCE for p in PHASES]
    if statistics.median([ratio.half_range / ratio.median for ratio in ratios if ratio] or [0]) > NOISY_SPREAD:
        note = (
            "The ratios vary a lot between rounds, probably because other programs are running. Use an idle machine, more "
            "rounds (--repeats) or larger batches."
        )
        console.print(Text.assemble(("note", "yellow"), f"  {note}"))
    sizes: dict[tuple[str, str, str], list[int]] = {}
    for skip in skipped:
        sizes.setdefault((skip.model, skip.norm, skip.reason), []).append(skip.batch_size)
    for (model, norm, reason), own in sorted(sizes.items()):
        where = f"{model}, {norm}, batch {', '.join(map(str, sorted(own)))}"
        console.print(Text.assemble(("skipped", "yellow"), f"  {where}: {reason}"))
    console.print(machine, soft_wrap=True)


def _heading(results: Sequence[CaseResult]) -> str:
    first = results[0]
    shape = "x".join(map(str, first.shape))
    where = first.device
    if where == "cpu":
        threads = list(dict.fromkeys(str(result.threads) for result in results))
        where = "1 thread" if threads == ["1"] else f"{' or '.join(threads)} threads"
        where += ", by batch size" if len(threads) > 1 else ""
    return f"{first.model} on {first.data} ({shape}), {where}"


def _table(results: Iterable[CaseResult]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("batch", "norm", *PHASES, "memory"):
        table.add_column(name, no_wrap=True, justify="left" if name == "norm" else "right")
    for result in results:
        for norm, costs in result.costs.items():
            if norm == REFERENCE:
                times = [f"{_format(1e3 * statistics.median_high(costs.seconds[p]))} ms" for p in PHASES[:3]]
                size = costs.saved_bytes
                kept = f"{_format(size / 2**10)} KiB" if size < 2**20 / 10 else f"{_format(size / 2**20)} MiB"
                table.add_row(str(result.batch_size), norm, *times, "", kept, style="dim")
            else:
                ratios = [result.ratio(norm, phase) for phase in PHASES]
                times = ["" if ratio is None else f"{ratio.median:.2f} ±{ratio.half_range:.2f}" for ratio in ratios]
                memory = result.memory(norm)
                table.add_row("", norm, *times, "" if memory is None else f"{memory:.2f}")
    return table


def _format(value: float) -> str:
    """Format with three significant digits: 0.0123, 1.23, 123, 1230."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
