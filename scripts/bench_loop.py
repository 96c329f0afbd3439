"""What a training step costs beside a bare hand-written loop with the same net, data and batch, nothing logged there.

    python scripts/bench_loop.py [--data-dir DIR] [--repeats N] [--json FILE]

Both sides run in one process, by turns, each repeat on a network of its own with the same weights: the ratio of a pair is
free of most of what else the machine does. Printed are the median of the ratios and their quartiles; normexp logs as it
does by default, to a run directory that is thrown away. Evaluations are outside of what is measured on both sides.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from normexp.commands.compose import compose
from normexp.config import Config
from normexp.record import Record
from normexp.training.build import build
from normexp.training.course import Course, Stopwatch
from normexp.training.run import about, open_sinks
from normexp.training.trainer import fit

CASES = {
    "mlp 784-100x3, MNIST, batch 60": (["model=mlp", "data=mnist", "batch_size=60"], 400),
    "cnn, digits, batch 64 (the default)": ([], 200),
    "cnn, MNIST, batch 128": (["data=mnist", "batch_size=128"], 100),
    "resnet 20, CIFAR-10 augmented, batch 128": (
        ["model=resnet", "data=cifar10", "data.verify=false", "batch_size=128"],
        10,
    ),
}


def bare_loop(config: Config, steps: int) -> float:
    """Seconds a step of the loop that one would write by hand."""
    parts = build(config)
    model, optimizer, train = parts.model, parts.optimizer, parts.data.train
    model.train()
    order = torch.randperm(len(train)).split(config.batch_size)
    start = time.perf_counter()
    for step in range(steps):
        inputs, labels = train.batch(order[step % parts.sizes.steps_per_epoch], parts.augment)
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / steps


def normexp_loop(config: Config, steps: int) -> float:
    """Seconds a step of normexp's, with all sinks, without evaluations."""
    parts = build(config)
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, force_terminal=True)
        sinks = open_sinks(Path(folder), about(parts, config, {}, {}), console, steps)
        seconds = 0.0

        def log(record: Record) -> None:
            nonlocal seconds
            for sink in sinks.values():
                sink.log(record)

        with no_evaluation():
            start = time.perf_counter()
            fit(parts, config, Course(steps, Stopwatch(parts.device)), log=log, interrupted=lambda: False)
            seconds = time.perf_counter() - start
        for sink in sinks.values():
            sink.close(success=True)
    return seconds / steps


@contextmanager
def no_evaluation() -> Iterator[None]:
    from normexp.training import trainer

    real = trainer.evaluate, trainer.evaluate_with_batch_statistics
    trainer.evaluate = lambda model, split, interrupted=None: (0.0, 0.0)
    trainer.evaluate_with_batch_statistics = lambda model, split, batch_size, interrupted=None: (0.0, 0.0)
    try:
        yield
    finally:
        trainer.evaluate, trainer.evaluate_with_batch_statistics = real


def quick_build() -> None:
    """Let every build of a case share the loaded data, which no step changes."""
    from normexp.training import build as module

    module.load = functools.lru_cache(maxsize=1)(module.load)


def main() -> None:
    quick_build()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("NORMEXP_DATA_DIR", "data"))
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = Table("case", "bare, ms a step", "normexp, ms", "ratio", "quartiles", title="One training step")
    results = {}
    for case, (overrides, steps) in CASES.items():
        config = compose([*overrides, f"steps={steps}", f"data_dir={arguments.data_dir}"])
        bare_loop(config, 2)
        pairs = []
        for repeat in range(arguments.repeats):
            loops = [bare_loop, normexp_loop]
            times = {loop: loop(config, steps) for loop in (loops if repeat % 2 else loops[::-1])}
            pairs.append((times[bare_loop], times[normexp_loop]))
        ratios = [ours / bare for bare, ours in pairs]
        low, ratio, high = statistics.quantiles(ratios, n=4)
        bare, ours = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
        table.add_row(case, f"{bare:.2f}", f"{ours:.2f}", f"{ratio:.3f}", f"{low:.3f} to {high:.3f}")
        results[case] = {"bare_ms": bare, "normexp_ms": ours, "ratio": ratio, "quartiles": [low, high]}
    Console().print(table)
    if arguments.json:
        machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cpus": os.cpu_count()}
        arguments.json.write_text(json.dumps({"machine": machine, "cases": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
