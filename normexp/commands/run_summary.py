"""Print the results of a run when it ends, where they are, and what to do next."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from normexp.console import print_line, print_message
from normexp.metrics import format_metric
from normexp.rundir.reader import displayable_json
from normexp.sinks.progress_bar import RunConsole
from normexp.sweeps.names import key_of
from normexp.training.debug import TABLE, TRACE, WAIT, region_shares
from normexp.training.run import Result
from normexp.training.state import ACCURACY_LEVELS

HEADLINES = {
    "completed": "[green]completed[/]",
    "diverged": "[yellow]diverged[/]: {error}",
    "interrupted": "[yellow]interrupted[/]",
    "failed": "[red]failed[/]: {error}",
}


def print_summary(result: Result, console: RunConsole, *, command: Sequence[str] = (), quiet: bool = False) -> int:
    """Print a run's results as a table, then its files and the next steps.

    command: the words that trained it, for commands that repeat it. quiet: nothing was printed before.

    Returns the exit code: 0 for a result, 128 plus the signal for an interrupted run, 1 for a failed one. Raises OSError if the
    output could not be written.
    """
    if not quiet:
        console.print()
    headline = HEADLINES[result.state].format(error=escape(result.error or ""))
    table = Table.grid(padding=(0, 2, 0, 0))
    for label, text in [*([("run", headline)] * (result.state != "failed")), *_results(result)]:
        table.add_row(label, text)
    if result.state == "failed":  # not in the table, which would wrap it: an error may contain a path to copy
        print_message(console, Text.from_markup(f"run            {headline}"))
    if table.rows:
        console.print(table)
    for label, text in _next_steps(result, command):
        print_line(console, f"{label:<15}{text}")
    console.close()
    if result.state == "interrupted":
        return 128 + (result.signal or 2)
    return int(result.state == "failed")


def _results(result: Result) -> Iterator[tuple[str, str]]:
    metrics = {tag: value for tag, value in result.metrics.items() if value is not None}
    if "test/accuracy" in metrics:
        yield "test accuracy", f"[bold]{_percent(metrics['test/accuracy'])}[/]  (loss {metrics['test/loss']:.4f})"
    if "val/accuracy" in metrics:
        yield "validation accuracy", _validation(result, metrics)
    reached = [(level, metrics.get(f"convergence/steps_to_{level}")) for level in ACCURACY_LEVELS]
    if steps := [f"{level} %: {step:.0f}" for level, step in reached if step is not None]:
        yield "steps to validation accuracy", "  ".join(steps)
    if "train/loss" in metrics:
        yield "training loss", f"{metrics['train/loss']:.4f}"
    if result.debug == "overfit" and result.state == "completed" and "train/accuracy" in metrics:
        learned, accuracy = metrics["train/accuracy"] == 1, f"{_percent(metrics['train/accuracy'])} in the last steps"
        unlearned = f"[yellow]not memorized[/]: {accuracy}. More steps, another lr, or a bug?"
        yield "one batch", f"[green]memorized[/]: {accuracy}" if learned else unlearned


def _percent(fraction: float) -> str:
    return format_metric(fraction, "accuracy")


def _validation(result: Result, metrics: Mapping[str, float]) -> str:
    """The last validation accuracy. That of a run that is not completed may be of a part of the samples.

    The best one is left out if the evaluations used a part: the largest of many uncertain values is too large.
    """
    text = _percent(metrics["val/accuracy"])
    if result.state != "completed":
        return f"{text} at step {result.evaluated}" + (f" ({result.eval_samples} samples)" * bool(result.eval_samples))
    if not result.eval_samples and {"convergence/best_accuracy", "convergence/best_step"} <= metrics.keys():
        best, step = metrics["convergence/best_accuracy"], metrics["convergence/best_step"]
        text += f", best {_percent(best)} at step {step:.0f}"
    if "val/accuracy_batch_statistics" in metrics:
        text += f"; {_percent(metrics['val/accuracy_batch_statistics'])} using batch instead of running statistics"
    return text


def _next_steps(result: Result, command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The run's files and the commands that make sense next."""
    directory = str(result.directory)
    unwritten = result.cause == "write"
    if result.state == "failed" and not unwritten and (result.directory / "train.log").exists():
        yield "traceback", f"{directory}/train.log"
    yield "run directory", directory
    if (result.directory / "histograms.png").exists():
        yield "histograms", f"{directory}/histograms.png"
    if where := displayable_json(result.directory / "tracker.json").get("where"):
        yield "tracker", where
    if (result.directory / TRACE).exists():
        if shares := region_shares(result.directory):
            yield "a step's time", shares
        yield "operations", f"{directory}/{TABLE}"
        yield "trace", f"{directory}/{TRACE}: open it in ui.perfetto.dev or chrome://tracing"
    elif result.debug == "profile":
        yield "trace", f"none: profiling starts after {WAIT} steps"
    if result.state in ("interrupted", "failed") and result.directory.exists():
        yield "resume", "once the disk is writable: " * unwritten + f"normexp resume {shlex.quote(directory)}"
    if result.cause == "memory":
        yield "less memory", "the same command with a smaller batch_size or network, or a larger accumulate"
    if result.state == "diverged":
        yield "see it happen", _repeated(command, "probe.every=1", "log_every=1")
        if result.debug != "anomaly":
            yield "see where", _repeated(command, "debug=anomaly")
    yield "look inside", f"normexp tensorboard {shlex.quote(directory)}"


def _repeated(command: Sequence[str], *overrides: str) -> str:
    keys = {key_of(text) for text in overrides}
    words = [word for word in command if key_of(word) not in keys]
    return shlex.join([*words, *overrides]) if words else f"its command with {' '.join(overrides)}"
