"""Print the results of a run when it ends, where they are, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from normexp.console import print_line
from normexp.sinks.progress_bar import RunConsole
from normexp.training.convergence import ACCURACY_LEVELS
from normexp.training.profile import TABLE, TRACE, WAIT, region_shares
from normexp.training.run import Result

HEADLINES = {
    "completed": "[green]completed[/]",
    "diverged": "[yellow]diverged[/]: {error}",
    "interrupted": "[yellow]interrupted[/]",
    "failed": "[red]failed[/]: {error}",
}


def print_summary(result: Result, console: RunConsole) -> None:
    """Print a run's results as a table, then its files and the next steps. Raises OSError if the output could not be written."""
    console.print()
    _print_results(result, console)
    _print_next_steps(result, console)
    console.close()


def _print_results(result: Result, console: RunConsole) -> None:
    metrics = result.metrics
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    headline = HEADLINES[result.state].format(error=escape(result.error or ""))
    if result.state != "failed":
        table.add_row("run", headline)
    if metrics.get("test/accuracy") is not None:
        table.add_row("test accuracy", f"[bold]{metrics['test/accuracy']:.2%}[/]  (loss {metrics['test/loss']:.4f})")
    if metrics.get("val/accuracy") is not None:
        table.add_row("validation accuracy", _validation(metrics))
    reached = [(level, metrics.get(f"convergence/steps_to_{level}")) for level in ACCURACY_LEVELS]
    steps = [f"{level} %: {step:.0f}" for level, step in reached if step is not None]
    if steps:
        table.add_row("steps to validation accuracy", "  ".join(steps))
    if metrics.get("train/loss") is not None:
        table.add_row("training loss", f"{metrics['train/loss']:.4f}")
    accuracy = metrics.get("train/accuracy")
    if result.debug == "overfit" and result.state == "completed" and accuracy is not None:
        table.add_row("one batch", _overfit(accuracy))
    # Not in the table, which would wrap it: an error may contain a path to copy.
    if result.state == "failed":
        console.print(f"run            {headline}", soft_wrap=True, highlight=False)
    if table.rows:
        console.print(table)


def _print_next_steps(result: Result, console: RunConsole) -> None:
    """Print the run's files and the commands that make sense next."""
    directory, runs = str(result.directory), str(result.directory.parent)

    def line(label: str, text: str) -> None:
        print_line(console, f"{label:<15}{text}")

    unwritten = result.cause == "write"
    if result.state == "failed" and not unwritten and (result.directory / "train.log").exists():
        line("traceback", f"{directory}/train.log")
    line("run directory", directory)
    if (result.directory / "histograms.png").exists():
        line("histograms", f"{directory}/histograms.png")
    if (result.directory / TRACE).exists():
        if shares := region_shares(result.directory):
            line("a step's time", shares)
        line("operations", f"{directory}/{TABLE}")
        line("trace", f"{directory}/{TRACE}: open it in ui.perfetto.dev or chrome://tracing")
    elif result.debug == "profile":
        line("trace", f"none: it begins after {WAIT} steps")
    if result.state in ("interrupted", "failed") and result.directory.exists():
        line("go on", "when it can be written: " * unwritten + f"normexp resume {shlex.quote(directory)}")
    if result.cause == "memory":
        line("less memory", "the same command with a smaller batch_size or network")
    if result.state == "diverged":
        line("see it happen", "the same command with probe.every=1 log_every=1")
        if result.debug != "anomaly":
            line("see where", "the same command with debug=anomaly")
    line("look inside", f"normexp tensorboard {shlex.quote(runs)}")


def _overfit(accuracy: float) -> str:
    if accuracy == 1:
        return "[green]learned by heart[/]: 100 % in the last steps"
    return f"[yellow]not learned by heart[/]: {accuracy:.2%} in the last steps. More steps, another lr, or a bug?"


def _validation(metrics: Mapping[str, float | None]) -> str:
    text = f"{metrics['val/accuracy']:.2%}"
    best, step = metrics.get("convergence/best_accuracy"), metrics.get("convergence/best_step")
    if best is not None and step is not None:
        text += f", best {best:.2%} at step {step:.0f}"
    batch = metrics.get("val/accuracy_batch_statistics")
    return text + (f"; {batch:.2%} with batch statistics" if batch is not None else "")


def exit_code(result: Result) -> int:
    """0 for a result, 128 plus the signal for an interrupted run, 1 for a failed one."""
    match result.state:
        case "interrupted":
            return 128 + (result.signal or 2)
        case "failed":
            return 1
    return 0
