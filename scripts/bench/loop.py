"""Cost of a training step relative to a bare handwritten loop with the same network, data and batch size, without logging.

    python scripts/bench/loop.py [--data-dir DIR] [--repeats N] [--device cpu|cuda] [--json FILE] [--quick]

Both train in one process and alternate in blocks of steps. normexp runs with its defaults, with all sinks and probes, in a
temporary run directory. The bare loop reads float32 tensors that were standardized beforehand; with augmentation it reads the
bytes, as each batch is augmented anew. The first steps and evaluations are excluded. Each ratio is over 100 steps, which
include one snapshot of the probes and ten log entries.
"""

import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import measuring
import torch
from harness import all_sinks, cache_data, no_evaluation
from torch.nn import functional as F

from normexp.compose.compose import compose
from normexp.config import Config
from normexp.sinks import progress_bar
from normexp.training.build import build
from normexp.training.state import TrainState
from normexp.training.trainer import Trainer

GOAL = 1.05


@dataclass(frozen=True)
class Case:
    """block: steps before the other side has its turn, a multiple of 10 to include log entries. repeats: number of ratios."""

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
"""Network sizes for --quick, by the first word of a case."""


def bare_loop(config: Config, block: int) -> Iterator[None]:
    """A handwritten training loop. Each `next` trains a block of steps."""
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


def time_alternately(config: Config, *, block: int, cycle: int, repeats: int) -> list[tuple[float, float]]:
    """Seconds of the bare loop and of normexp for each `cycle` of steps.

    The trainer calls `interrupted` before each step. At the end of each block this callback runs the bare loop.
    """
    parts, bare = build(config), bare_loop(config, block)
    state = TrainState(parts.sizes.total_steps, parts.device)
    times: list[tuple[float, float]] = []
    bare_seconds = start = 0.0

    def now() -> float:
        if parts.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def interrupted() -> bool:
        nonlocal bare_seconds, start
        if state.step == 0 or state.step % block:
            return False
        end = now()
        if state.step > block:
            times.append((bare_seconds, end - start))
        else:  # the first block of both is warm-up; normexp's includes the snapshot of its first step
            next(bare)
        if len(times) == repeats * cycle // block:
            return True
        bare_start = now()
        next(bare)
        start = now()
        bare_seconds = start - bare_start
        return False

    with tempfile.TemporaryDirectory() as folder, all_sinks(parts, config, Path(folder)) as sinks, no_evaluation():
        # The progress bar is redrawn by wall-clock time, half of which belongs to the bare loop.
        refresh, progress_bar.REFRESH_SECONDS = progress_bar.REFRESH_SECONDS, 2 * progress_bar.REFRESH_SECONDS
        outcome = Trainer(parts, config, state=state, log=sinks.log, interrupted=interrupted).train()
        progress_bar.REFRESH_SECONDS = refresh
    if outcome.state != "interrupted":
        raise SystemExit(f"The run ended before it was measured: {outcome.error}.")
    cycles = [times[i : i + cycle // block] for i in range(0, len(times), cycle // block)]
    return [(sum(bare for bare, _ in blocks), sum(normexp for _, normexp in blocks)) for blocks in cycles]


def measure(what: str, case: Case, *, data_dir: str, device: str, repeats: int | None, quick: bool) -> measuring.Row:
    """Measure a case. quick: only show that it works, with few steps and small networks."""
    cycle, count = (10, repeats or 1) if quick else (100, repeats or case.repeats)
    # On a GPU, whose steps are short, synchronizing after every block would distort the times.
    block = cycle if quick or device == "cuda" else case.block
    steps = cycle * (count + 2)  # ends before the last step, which has a snapshot and an evaluation
    overrides = [*case.overrides, f"steps={steps}", f"eval_every={steps}", "probe.early=0"]
    overrides += [f"data_dir={data_dir}", f"device={device}"]
    overrides += [f"probe.every={cycle}", *QUICK.get(re.split(r"\W", what)[0], [])] if quick else []
    config = compose(overrides)
    times = time_alternately(config, block=block, cycle=cycle, repeats=count)
    bare, normexp = (measuring.quartiles(side)[1] / cycle for side in zip(*times, strict=True))
    more = {
        "bare, ms a step": 1e3 * bare,
        "normexp, ms": 1e3 * normexp,
        "normexp, images/s": round(config.batch_size / normexp),
        "threads": torch.get_num_threads(),
    }
    return measuring.Row(what, [b / a for a, b in times], case.goal, more=more)


def main() -> None:
    parser = measuring.argument_parser(
        __doc__, repeats=None, repeats_help="ratios of 100 steps each (so many for each case)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = measuring.parse(parser)
    cache_data()
    options = {"data_dir": arguments.data_dir, "device": arguments.device, "repeats": arguments.repeats}
    rows = [measuring.report(measure(what, case, **options, quick=arguments.quick)) for what, case in CASES.items()]
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    measuring.finish("A training step over that of a bare loop", rows, arguments, device=device)


if __name__ == "__main__":
    main()
