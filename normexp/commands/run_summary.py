"""Print the results of a run when it ends, where they are, and what to do next."""

import shlex
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from normexp.console import print_line
from normexp.sinks.progress_bar import RunConsole
from normexp.training.debug import TABLE, TRACE, WAIT, region_shares
from normexp.training.run import Result
from normexp.training.state import ACCURACY_LEVELS

HEADLINES = {
    "completed": "[green]completed[/]",
    "diverged": "[yellow]diverged[/]: {error}",
    "interrupted": "[yellow]interrupted[/]",
    "failed": "[red]failed[/]: {error}",
}


def print_summary(result: Result, console: RunConsole) -> int:
    """Print a run's results as a table, then its files and the next steps.

    Returns the exit code: 0 for a result, 128 plus the signal for an interrupted run, 1 for a failed one. Raises OSError if the
    output could not be written.
    """
    console.print()
    headline = HEADLINES[result.state].format(error=escape(result.error or ""))
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for label, text in [*([("run", headline)] * (result.state != "failed")), *_results(result)]:
        table.add_row(label, text)
    if result.state == "failed":  # not in the table, which would wrap it: an error may contain a path to copy
        console.print(f"run            {headline}", soft_wrap=True, highlight=False)
    if table.rows:
        console.print(table)
    for label, text in _next_steps(result):
        print_line(console, f"{label:<15}{text}")
    console.close()
    if result.state == "interrupted":
        return 128 + (result.signal or 2)
    return int(result.state == "failed")


def _results(result: Result) -> Iterator[tuple[str, str]]:
    metrics = {tag: value for tag, value in result.metrics.items() if value is not None}
    if "test/accuracy" in metrics:
        yield "test accuracy", f"[bold]{metrics['test/accuracy']:.2%}[/]  (loss {metrics['test/loss']:.4f})"
    if "val/accuracy" in metrics:
        text = f"{metrics['val/accuracy']:.2%}"
        if {"convergence/best_accuracy", "convergence/best_step"} <= metrics.keys():
            best, step = metrics["convergence/best_accuracy"], metrics["convergence/best_step"]
            text += f", best {best:.2%} at step {step:.0f}"
        if "val/accuracy_batch_statistics" in metrics:
            text += f"; {metrics['val/accuracy_batch_statistics']:.2%} with batch statistics"
        yield "validation accuracy", text
    reached = [(level, metrics.get(f"convergence/steps_to_{level}")) for level in ACCURACY_LEVELS]
    if steps := [f"{level} %: {step:.0f}" for level, step in reached if step is not None]:
        yield "steps to validation accuracy", "  ".join(steps)
    if "train/loss" in metrics:
        yield "training loss", f"{metrics['train/loss']:.4f}"
    if result.debug == "overfit" and result.state == "completed" and "train/accuracy" in metrics:
        accuracy = metrics["train/accuracy"]
        if accuracy == 1:
            yield "one batch", "[green]learned by heart[/]: 100 % in the last steps"
        else:
            outcome = f"[yellow]not learned by heart[/]: {accuracy:.2%} in the last steps."
            yield "one batch", f"{outcome} More steps, another lr, or a bug?"


def _next_steps(result: Result) -> Iterator[tuple[str, str]]:
    """The run's files and the commands that make sense next."""
    directory, runs = str(result.directory), str(result.directory.parent)
    unwritten = result.cause == "write"
    if result.state == "failed" and not unwritten and (result.directory / "train.log").exists():
        yield "traceback", f"{directory}/train.log"
    yield "run directory", directory
    if (result.directory / "histograms.png").exists():
        yield "histograms", f"{directory}/histograms.png"
    if (result.directory / TRACE).exists():
        if shares := region_shares(result.directory):
            yield "a step's time", shares
        yield "operations", f"{directory}/{TABLE}"
        yield "trace", f"{directory}/{TRACE}: open it in ui.perfetto.dev or chrome://tracing"
    elif result.debug == "profile":
        yield "trace", f"none: it begins after {WAIT} steps"
    if result.state in ("interrupted", "failed") and result.directory.exists():
        yield "go on", "when it can be written: " * unwritten + f"normexp resume {shlex.quote(directory)}"
    if result.cause == "memory":
        yield "less memory", "the same command with a smaller batch_size or network"
    if result.state == "diverged":
        yield "see it happen", "the same command with probe.every=1 log_every=1"
        if result.debug != "anomaly":
            yield "see where", "the same command with debug=anomaly"
    yield "look inside", f"normexp tensorboard {shlex.quote(runs)}"
