"""What an evaluation costs: beside a bare pass without gradients over the same data, and as a share of a default run.

    python scripts/bench/evaluation.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

The bare pass takes batches of the same size out of float32 tensors that were standardised beforehand, and asks the device for
the loss and the right answers of every batch. Both sides evaluate the same network on the validation set, in one process, by
turns. The share is that of all evaluations (the test set's too, and those with batch statistics) of the whole run, from the
shell's prompt to the end of the process; beside it stands that of training with evaluations alone.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
import torch
from loop import quick_build
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.compose.compose import compose
from normexp.records import Record
from normexp.training import trainer
from normexp.training.build import build
from normexp.training.evaluate import BATCH, evaluate
from normexp.training.run import about, open_sinks
from normexp.training.state import Stopwatch, TrainState

GOAL, GOAL_SHARE = 1.10, 0.05

NETS = {
    "mlp 784-100x3, MNIST": (["model=mlp", "data=mnist"], 51),
    "cnn, MNIST": (["data=mnist"], 11),
    "resnet 20, CIFAR-10": (["model=resnet", "data=cifar10", "data.verify=false"], 5),
}
RUNS = {
    "normexp train": ([], 5, GOAL_SHARE),
    "normexp train model=mlp data=mnist": (["model=mlp", "data=mnist"], 3, None),
    "normexp train data=mnist": (["data=mnist"], 1, None),
}
"""Each with how often it is measured by default, and its goal: it is of the default run."""

SMALL = {
    "mlp": ["model.width=4", "data.val_size=0.01"],
    "cnn": ["model.channels=[2,2]", "data.val_size=0.01"],
    "resnet": ["model.depth=8", "model.width=4", "data.val_size=0.01"],
}
"""What makes nets and data small, for --quick."""


def bare_pass(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean loss and accuracy, as one would write it by hand."""
    loss, correct = 0.0, 0
    model.eval()
    with torch.no_grad():
        for x, y in zip(inputs.split(BATCH), labels.split(BATCH), strict=True):
            logits = model(x)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += int((logits.argmax(1) == y).sum().item())
    return loss / len(labels), correct / len(labels)


def against_bare(what: str, overrides: list[str], repeats: int) -> measuring.Row:
    parts = build(compose(overrides))
    model, split = parts.model, parts.data.val
    inputs = (split.images - split.mean) / split.std
    assert abs(evaluate(model, split)[1] - bare_pass(model, inputs, split.labels)[1]) <= 1 / len(split)
    sides = [_seconds(lambda: bare_pass(model, inputs, split.labels)), _seconds(lambda: evaluate(model, split))]
    times = measuring.alternate(sides, repeats)
    bare, ours = (statistics.median(side) for side in zip(*times, strict=True))
    more = {"bare, ms": 1e3 * bare, "normexp, ms": 1e3 * ours, "threads": torch.get_num_threads()}
    return measuring.Row(f"evaluation over a bare pass: {what}", [b / a for a, b in times], GOAL, more=more)


def share(what: str, overrides: list[str], repeats: int, goal: float | None) -> measuring.Row:
    runs = [(*_share_of_run(overrides), _process_seconds(overrides)) for _ in range(repeats)]
    more = {
        "run, s": statistics.median(whole for *_, whole in runs),
        "of training": statistics.median(part / training for part, training, _ in runs),
    }
    shares = [part / whole for part, _, whole in runs]
    return measuring.Row(f"share of evaluations: {what}", shares, goal, more=more)


def _process_seconds(overrides: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        measuring.must_succeed([*measuring.COMMAND, "train", *overrides], Path(folder))
        return time.perf_counter() - start


def _share_of_run(overrides: list[str]) -> tuple[float, float]:
    """Seconds of a run's evaluations, and of its training with them, with all sinks."""
    config = compose(overrides)
    parts = build(config)
    course = TrainState(parts.sizes.total_steps, Stopwatch(parts.device))
    spent = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            nonlocal spent
            start = time.perf_counter()
            result = function(*args, **keywords)
            spent += time.perf_counter() - start
            return result

        return call

    real = trainer.evaluate, trainer.evaluate_with_batch_statistics
    trainer.evaluate, trainer.evaluate_with_batch_statistics = (timed(function) for function in real)
    try:
        with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
            console = Console(file=nowhere, force_terminal=True)
            sinks = open_sinks(Path(folder), about(parts, config, {}, {}), console, course.total_steps)

            def log(record: Record) -> None:
                for sink in sinks.values():
                    sink.log(record)

            start = time.perf_counter()
            trainer.fit(parts, config, course, log=log, interrupted=lambda: False)
            total = time.perf_counter() - start
            for sink in sinks.values():
                sink.close(success=True)
    finally:
        trainer.evaluate, trainer.evaluate_with_batch_statistics = real
    return spent, total


def _seconds(work: Callable[[], object]) -> Callable[[], float]:
    def measured() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return measured


def main() -> None:
    repeats_help = "rounds, and runs for the share (so many for each row)"
    arguments = measuring.parse(measuring.parser(__doc__, repeats=None, repeats_help=repeats_help))
    quick_build()
    place, few = ["device=cpu", f"data_dir={arguments.data_dir}"], arguments.repeats
    short = ["steps=20", "eval_every=10"] if arguments.quick else []
    rows = []
    for what, (overrides, count) in NETS.items():
        words = [*overrides, *place, *(SMALL[what.split()[0].rstrip(",")] if arguments.quick else [])]
        rows.append(measuring.told(against_bare(what, words, few or (2 if arguments.quick else count))))
    for what, (overrides, count, goal) in list(RUNS.items())[: 1 if arguments.quick else None]:
        words = [*overrides, *place, *short, *(SMALL["mlp" if "mlp" in what else "cnn"] if arguments.quick else [])]
        rows.append(measuring.told(share(what, words, few or (1 if arguments.quick else count), goal)))
    measuring.finish("Evaluation", rows, arguments)


if __name__ == "__main__":
    main()
