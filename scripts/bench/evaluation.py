"""Cost of an evaluation: relative to a bare pass without gradients over the same data, and as a share of a default run.

    python scripts/bench/evaluation.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

The bare pass reads batches of the same size from float32 tensors that were standardized beforehand, and fetches the loss and
the number of correct answers of every batch. Both evaluate the same network on the validation set in one process, alternating.
The share is that of all evaluations (including the test set, and those with batch statistics) in the time of the process from
start to exit, and next to it in the time of training with evaluations alone.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
import torch
from harness import all_sinks, cache_data
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.compose.compose import compose
from normexp.training import trainer
from normexp.training.build import build
from normexp.training.evaluate import EVAL_BATCH_SIZE, evaluate

GOAL, GOAL_SHARE = 1.10, 0.05

NETS = {
    "mlp 784-100x3, MNIST": (["model=mlp", "data=mnist"], 51),
    "cnn, MNIST": (["data=mnist"], 11),
    "resnet 20, CIFAR-10": (["model=resnet", "data=cifar10", "data.verify=false"], 5),
}
"""Overrides and default number of rounds."""

RUNS = {
    "normexp train": ([], 5, GOAL_SHARE),
    "normexp train model=mlp data=mnist": (["model=mlp", "data=mnist"], 3, GOAL_SHARE),
    "normexp train data=mnist": (["data=mnist"], 1, GOAL_SHARE),
}
"""Overrides, default number of runs, and goal."""

SMALL = {
    "mlp": ["model.width=4", "data.val_size=0.01"],
    "cnn": ["model.channels=[2,2]", "data.val_size=0.01"],
    "resnet": ["model.depth=8", "model.width=4", "data.val_size=0.01"],
}
"""Small networks and data for --quick."""


def bare_pass(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean loss and accuracy, handwritten."""
    loss, correct = 0.0, 0
    model.eval()
    with torch.no_grad():
        for x, y in zip(inputs.split(EVAL_BATCH_SIZE), labels.split(EVAL_BATCH_SIZE), strict=True):
            logits = model(x)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += int((logits.argmax(1) == y).sum().item())
    return loss / len(labels), correct / len(labels)


def compare_with_bare_pass(what: str, overrides: list[str], repeats: int) -> measuring.Row:
    parts = build(compose(overrides))
    model, split = parts.model, parts.data.val
    inputs = (split.images - split.mean) / split.std
    assert abs(evaluate(model, split)[1] - bare_pass(model, inputs, split.labels)[1]) <= 1 / len(split)
    sides = [_timer(lambda: bare_pass(model, inputs, split.labels)), _timer(lambda: evaluate(model, split))]
    times = measuring.alternate(sides, repeats)
    bare, normexp = (statistics.median(side) for side in zip(*times, strict=True))
    more = {"bare, ms": 1e3 * bare, "normexp, ms": 1e3 * normexp, "threads": torch.get_num_threads()}
    return measuring.Row(f"evaluation over a bare pass: {what}", [b / a for a, b in times], GOAL, more=more)


def share(what: str, overrides: list[str], repeats: int, goal: float | None) -> measuring.Row:
    command = [*measuring.COMMAND, "train", *overrides]
    runs = [(*_training_seconds(overrides), measuring.command_seconds(command)) for _ in range(repeats)]
    more = {
        "run, s": statistics.median(process for *_, process in runs),
        "of training": statistics.median(evaluations / training for evaluations, training, _ in runs),
    }
    shares = [evaluations / process for evaluations, _, process in runs]
    return measuring.Row(f"share of evaluations: {what}", shares, goal, more=more)


def _training_seconds(overrides: list[str]) -> tuple[float, float]:
    """Seconds of a run's evaluations, and of its training including them, with all sinks."""
    config = compose(overrides)
    parts = build(config)
    evaluations = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal evaluations
            start = time.perf_counter()
            result = function(*args, **kwargs)
            evaluations += time.perf_counter() - start
            return result

        return call

    real = trainer.evaluate, trainer.evaluate_with_batch_statistics
    trainer.evaluate, trainer.evaluate_with_batch_statistics = (timed(function) for function in real)
    try:
        with tempfile.TemporaryDirectory() as folder, all_sinks(parts, config, Path(folder)) as sinks:
            training = _timer(lambda: trainer.Trainer(parts, config, log=sinks.log).train())()
    finally:
        trainer.evaluate, trainer.evaluate_with_batch_statistics = real
    return evaluations, training


def _timer(work: Callable[[], object]) -> Callable[[], float]:
    def seconds() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return seconds


def main() -> None:
    repeats_help = "rounds, and runs for the share (so many for each row)"
    arguments = measuring.parse(measuring.argument_parser(__doc__, repeats=None, repeats_help=repeats_help))
    cache_data()
    common, quick = ["device=cpu", f"data_dir={arguments.data_dir}"], arguments.quick
    rows = []
    for what, (overrides, repeats) in NETS.items():
        words = [*overrides, *common, *(SMALL[what.split()[0].rstrip(",")] if quick else [])]
        rounds = arguments.repeats or (2 if quick else repeats)
        rows.append(measuring.report(compare_with_bare_pass(what, words, rounds)))
    for what, (overrides, repeats, goal) in list(RUNS.items())[: 1 if quick else None]:
        small = ["steps=20", "eval_every=10", *SMALL["mlp" if "mlp" in what else "cnn"]] if quick else []
        rounds = arguments.repeats or (1 if quick else repeats)
        rows.append(measuring.report(share(what, [*overrides, *common, *small], rounds, goal)))
    measuring.finish("Evaluation", rows, arguments)


if __name__ == "__main__":
    main()
