"""What a training step costs beside a bare hand-written loop with the same net, data and batch, nothing logged there.

    python scripts/bench/loop.py [--data-dir DIR] [--repeats N] [--device cpu|cuda] [--json FILE] [--quick]

Both sides train in one process, by turns, a block of steps each: normexp as by default, with all sinks and probes, to a run
directory that is thrown away; the bare loop on float32 tensors that were standardised beforehand (with augmentation: on the
bytes, since it must be drawn anew for every batch). The first steps are left out, and so are evaluations. A ratio is that of the
seconds of 100 steps, in which there is one look of the probes and there are ten entries of the metrics.
"""

import functools
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import measuring
import torch
from rich.console import Console
from torch.nn import functional as F

from normexp.compose.compose import compose
from normexp.config import Config
from normexp.records import Record
from normexp.sinks import progress_bar
from normexp.training.build import build
from normexp.training.run import about, open_sinks
from normexp.training.state import Stopwatch, TrainState
from normexp.training.trainer import fit

GOAL = 1.05


@dataclass(frozen=True)
class Case:
    """block: steps of one side's turn, a multiple of 10, in which there is then an entry of the metrics. repeats: ratios."""

    overrides: list[str]
    block: int
    repeats: int
    goal: float | None = GOAL


CASES = {
    "mlp 784-100x3, MNIST, batch 60": Case(["model=mlp", "data=mnist", "batch_size=60"], block=50, repeats=101),
    "cnn, digits, batch 64 (the default)": Case([], block=50, repeats=31, goal=None),
    "cnn, MNIST, batch 128": Case(["data=mnist", "batch_size=128"], block=20, repeats=11),
    "resnet 20, CIFAR-10 augmented, batch 128": Case(
        ["model=resnet", "data=cifar10", "data.verify=false", "batch_size=128"], block=10, repeats=2
    ),
}

QUICK = {"resnet": ["model.depth=8", "model.width=4"], "cnn": ["model.channels=[4,4]"]}
"""Nets for --quick, by the first word of a case."""


def bare_loop(config: Config, block: int) -> Iterator[None]:
    """The loop that one would write by hand; each `next` trains a block of steps."""
    parts = build(config)
    model, optimizer, augment, train = parts.model, parts.optimizer, parts.augment, parts.data.train
    images = train.images if augment else (train.images - train.mean) / train.std
    model.train()
    done = 0
    while True:
        order = torch.randperm(len(images), device=parts.device)
        for i in range(parts.sizes.steps_per_epoch):
            index = order[i * config.batch_size : (i + 1) * config.batch_size]
            x, y = images[index], train.labels[index]
            if augment:
                x = (augment(x) - train.mean) / train.std
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            done += 1
            if done % block == 0:
                yield


def take_turns(config: Config, *, block: int, cycle: int, repeats: int) -> list[tuple[float, float]]:
    """Seconds of the bare loop and of normexp's for each `cycle` of steps.

    fit asks before each step whether it is to stop: where a block of its steps is done, the bare loop has its turn there.
    """
    parts, bare = build(config), bare_loop(config, block)
    course = TrainState(parts.sizes.total_steps, Stopwatch(parts.device))
    turns: list[tuple[float, float]] = []
    bare_seconds = began = 0.0

    def now() -> float:
        if parts.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def turn() -> bool:
        nonlocal bare_seconds, began
        if course.step == 0 or course.step % block:
            return False
        ended = now()
        if course.step > block:
            turns.append((bare_seconds, ended - began))
        else:  # both have warmed up then, normexp with the look at its first step
            next(bare)
        if len(turns) == repeats * cycle // block:
            return True
        start = now()
        next(bare)
        began = now()
        bare_seconds = began - start
        return False

    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere, no_evaluation():
        # The terminal is drawn by the clock, which goes on while the other side has its turn.
        rate, progress_bar.REFRESH = progress_bar.REFRESH, 2 * progress_bar.REFRESH
        console = Console(file=nowhere, force_terminal=True)
        sinks = open_sinks(Path(folder), about(parts, config, {}, {}), console, course.total_steps)

        def log(record: Record) -> None:
            for sink in sinks.values():
                sink.log(record)

        outcome = fit(parts, config, course, log=log, interrupted=turn)
        for sink in sinks.values():
            sink.close(success=True)
        progress_bar.REFRESH = rate
    if outcome.state != "interrupted":
        raise SystemExit(f"The run ended before it was measured: {outcome.error}.")
    grouped = [turns[i : i + cycle // block] for i in range(0, len(turns), cycle // block)]
    return [(sum(bare for bare, _ in group), sum(ours for _, ours in group)) for group in grouped]


@contextmanager
def no_evaluation() -> Iterator[None]:
    from normexp.training import trainer

    real = trainer.evaluate, trainer.evaluate_with_batch_statistics
    trainer.evaluate = lambda *_, **__: (0.0, 0.0)
    trainer.evaluate_with_batch_statistics = lambda *_, **__: (0.0, 0.0)
    try:
        yield
    finally:
        trainer.evaluate, trainer.evaluate_with_batch_statistics = real


def quick_build() -> None:
    """Let every build of a case share the loaded data, which no step changes."""
    from normexp.training import build as module

    module.load = functools.lru_cache(maxsize=1)(module.load)


def measure(what: str, case: Case, *, data_dir: str, device: str, repeats: int | None, quick: bool) -> measuring.Row:
    """One case. quick: too short, and of nets too small, to be a measurement."""
    cycle, count = (10, repeats or 1) if quick else (100, repeats or case.repeats)
    # On a GPU, whose steps are short, waiting for it at the end of every block would be a cost of its own.
    block = cycle if quick or device == "cuda" else case.block
    far = cycle * (count + 2)  # behind what is measured: the last step is looked at and evaluated
    overrides = [*case.overrides, f"steps={far}", f"eval_every={far}", f"data_dir={data_dir}", f"device={device}"]
    overrides += [f"probe.every={cycle}", *QUICK.get(re.split(r"\W", what)[0], [])] if quick else []
    config = compose(overrides)
    pairs = take_turns(config, block=block, cycle=cycle, repeats=count)
    bare, ours = (measuring.spread(side)[1] / cycle for side in zip(*pairs, strict=True))
    more = {
        "bare, ms a step": 1e3 * bare,
        "normexp, ms": 1e3 * ours,
        "normexp, images/s": round(config.batch_size / ours),
        "threads": torch.get_num_threads(),
    }
    return measuring.Row(what, [normexp / by_hand for by_hand, normexp in pairs], case.goal, more=more)


def main() -> None:
    parser = measuring.parser(__doc__, repeats=None, repeats_help="ratios of 100 steps each (so many for each case)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = measuring.parse(parser)
    quick_build()
    keys = {"data_dir": arguments.data_dir, "device": arguments.device, "repeats": arguments.repeats}
    rows = [measuring.told(measure(what, case, **keys, quick=arguments.quick)) for what, case in CASES.items()]
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    measuring.finish("A training step over that of a bare loop", rows, arguments, device=device)


if __name__ == "__main__":
    main()
