"""Estimate the duration of a run from a few timed steps on random data, so no data is read or downloaded."""

import dataclasses
import math
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from rich.console import Console

from normexp.config import Config
from normexp.data import info, sizes
from normexp.data.base import Arrays
from normexp.sinks.run_sinks import RunSinks
from normexp.training import checkpoint
from normexp.training.build import Parts, build
from normexp.training.run import run_info
from normexp.training.trainer import Trainer

ENOUGH_SECONDS, MAX_SECONDS = 1.0, 10.0
"""Time for the timed steps: MIN_STEPS are timed even if they take longer than the first, but not longer than the second. On a
busy machine a much shorter time would not contain the pauses in which other processes run."""

MIN_STEPS = 4

MAX_COUNTED_STEPS = 300_000
"""Steps that are asked whether they have a snapshot or an evaluation. Of a longer run, this many are sampled."""

MAX_TRAIN_SAMPLES = 2000
"""Training samples that are held for the timing. The duration of a step does not depend on their number."""


def estimate_seconds(config: Config, folder: str | None = None) -> float:
    """The estimated duration of a run, with its snapshots, evaluations and files, which are written to a temporary folder here,
    inside of `folder` if given.

    Raises ConfigError if the device is missing. The compilation of `compile` is left out, and so is its speedup.
    """
    start = time.perf_counter()
    config = dataclasses.replace(config, compile=False, debug=None)
    parts = _build(config)
    total, probes = parts.sizes.total_steps, parts.probes
    with tempfile.TemporaryDirectory(dir=folder) as name:
        sinks = RunSinks(Path(name), run_info(parts, config), Console(quiet=True), total)
        trainer = Trainer(parts, config, log=sinks.log)
        built = time.perf_counter() - start
        evaluation = _time_evaluation(trainer)
        plain, probed = _time_steps(trainer)
        start = time.perf_counter()
        checkpoint.save(Path(name), parts, trainer.state, config, sinks, seconds=0.0, started="")
        saving = time.perf_counter() - start
        sinks.close(success=True)  # draws the histogram sheet
        drawing = time.perf_counter() - start - saving
    steps: Sequence[int] = range(1, total + 1)
    if total > MAX_COUNTED_STEPS:
        steps = random.Random(0).sample(steps, MAX_COUNTED_STEPS)
    scale = total / len(steps)
    snapshots = scale * sum(probes.due(step, total) for step in steps)
    snapshot = max(0.0, fmean(probed) - fmean(plain)) if probed else 0.0
    evaluations = scale * sum(map(trainer.evaluates, steps))
    seconds = built + total * fmean(plain) + snapshots * snapshot + evaluations * evaluation
    seconds += evaluation * (len(parts.data.val) + len(parts.data.test)) / len(parts.val_sample)  # at the end
    if snapshots:  # the sheet is drawn anew whenever there are half as many snapshots again
        seconds += drawing * (1 + min(evaluations, math.log(snapshots, 1.5)))
    every = config.checkpoints
    interval = every.seconds or (every.steps or math.inf) * seconds / total
    return seconds + saving * (1 + seconds / interval)


def _build(config: Config) -> Parts:
    """Build the parts of a run with random images of the data set's shape."""
    full, data = sizes(config), info(config.data)
    rng = np.random.default_rng(0)

    def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Overlapping windows of one random sequence, to save memory."""
        noise = rng.integers(0, 17, size=count + int(np.prod(data.shape)) - 1, dtype=np.uint8)
        return np.lib.stride_tricks.sliding_window_view(noise, int(np.prod(data.shape))).reshape(count, *data.shape)

    def labels(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.arange(count) % data.classes

    train, test = data.train_samples, data.test_samples
    arrays = Arrays(images(train), labels(train), images(test), labels(test), scale=16)
    held = min(full.train, max(MAX_TRAIN_SAMPLES, config.batch_size))
    smaller = dataclasses.replace(config, data=dataclasses.replace(config.data, train_size=held))
    return dataclasses.replace(build(smaller, arrays), sizes=full)


def _time_evaluation(trainer: Trainer) -> float:
    """Seconds of an evaluation on the validation sample, as before the first step. The first one warms up."""
    for _ in range(2):
        start = _now(trainer)
        trainer.initial_scalars, point = trainer.validate()
        seconds = _now(trainer) - start
    trainer.state.points = [point]
    return seconds


def _time_steps(trainer: Trainer) -> tuple[list[float], list[float]]:
    """Seconds of steps without and with a snapshot. Steps with an evaluation are left out, and the first two, which warm up."""
    state, probes = trainer.state, trainer.parts.probes
    plain: list[float] = []
    probed: list[float] = []
    other = [0.0]
    trainer.model.train()
    state.clock.start()
    began = time.perf_counter()
    while state.step < state.total_steps:
        step = state.step + 1
        start = _now(trainer)
        trainer.train_step()
        seconds = _now(trainer) - start
        if step <= 2 or trainer.evaluates(step):
            other.append(seconds)
        else:
            (probed if probes.due(step, state.total_steps) else plain).append(seconds)
        passed = time.perf_counter() - began
        if passed > (ENOUGH_SECONDS if len(plain) >= MIN_STEPS else MAX_SECONDS):
            break
    return plain or probed or other[-1:], probed


def _now(trainer: Trainer) -> float:
    if trainer.parts.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
