"""What a run says when it ends: the results, where they are, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from rich.table import Table

from normexp.sinks.progress_bar import RunConsole
from normexp.training.convergence import LEVELS
from normexp.training.profile import TABLE, TRACE, WAIT, shares
from normexp.training.run import Result

HEADLINES = {
    "completed": "[green]completed[/]",
    "diverged": "[yellow]diverged[/]: {error}",
    "interrupted": "[yellow]interrupted[/]",
    "failed": "[red]failed[/]: {error}",
}


def closing(result: Result, console: RunConsole) -> None:
    """Print the results of a run as a table, with the paths and commands that lead on. Raises OSError where they could not be."""
    console.print()
    _results(result, console)
    _ways_on(result, console)
    console.close()


def _results(result: Result, console: RunConsole) -> None:
    from rich.markup import escape

    metrics = result.metrics
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    headline = HEADLINES[result.state].format(error=escape(result.error or ""))
    if result.state != "failed":
        table.add_row("run", headline)
    if metrics.get("test/accuracy") is not None:
        table.add_row("test accuracy", f"[bold]{metrics['test/accuracy']:.2%}[/]  (loss {metrics['test/loss']:.4f})")
    if metrics.get("val/accuracy") is not None:
        table.add_row("validation accuracy", _validation(metrics))
    reached = [(level, metrics.get(f"convergence/steps_to_{level}")) for level in LEVELS]
    steps = [f"{level} %: {step:.0f}" for level, step in reached if step is not None]
    if steps:
        table.add_row("steps to validation accuracy", "  ".join(steps))
    if metrics.get("train/loss") is not None:
        table.add_row("training loss", f"{metrics['train/loss']:.4f}")
    accuracy = metrics.get("train/accuracy")
    if result.debug == "overfit" and result.state == "completed" and accuracy is not None:
        table.add_row("one batch", _overfit(accuracy))
    # Not in the table, which would wrap them: paths and commands are there to be copied.
    if result.state == "failed":
        console.print(f"run            {headline}", soft_wrap=True, highlight=False)
    if table.rows:
        console.print(table)


def _ways_on(result: Result, console: RunConsole) -> None:
    """Where things are, and what to do next."""
    directory, runs = str(result.directory), str(result.directory.parent)
    unwritten = result.cause == "write"
    if result.state == "failed" and not unwritten and (result.directory / "train.log").exists():
        console.print(f"traceback      {directory}/train.log", soft_wrap=True, highlight=False, markup=False)
    console.print(f"run directory  {directory}", soft_wrap=True, highlight=False, markup=False)
    if (result.directory / "histograms.png").exists():
        console.print(f"histograms     {directory}/histograms.png", soft_wrap=True, highlight=False, markup=False)
    if result.debug == "profile" and not (result.directory / TRACE).exists():
        console.print(f"trace          none: it begins after {WAIT} steps", highlight=False)
    elif (result.directory / TRACE).exists():
        console.print(f"a step's time  {shares(result.directory)}", soft_wrap=True, highlight=False, markup=False)
        console.print(f"operations     {directory}/{TABLE}", soft_wrap=True, highlight=False, markup=False)
        trace = f"trace          {directory}/{TRACE}: open it in ui.perfetto.dev or chrome://tracing"
        console.print(trace, soft_wrap=True, highlight=False, markup=False)
    if result.state in ("interrupted", "failed") and result.directory.exists():
        first = "when it can be written: " * unwritten
        again = f"go on          {first}normexp resume {shlex.quote(directory)}"
        console.print(again, soft_wrap=True, highlight=False, markup=False)
    if result.cause == "memory":
        console.print("less memory    the same command with a smaller batch_size or network", highlight=False)
    if result.state == "diverged":
        console.print("see it happen  the same command with probe.every=1 log_every=1", highlight=False, soft_wrap=True)
        if result.debug != "anomaly":
            console.print("see where      the same command with debug=anomaly", highlight=False, soft_wrap=True)
    console.print(
        f"look inside    normexp tensorboard {shlex.quote(runs)}", soft_wrap=True, highlight=False, markup=False
    )


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
