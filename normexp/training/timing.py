"""Estimate the duration of a run from a few timed steps on random data, so nothing is read, downloaded or written."""

import dataclasses
import time
from statistics import fmean, median

import numpy as np
import torch

from normexp.config import Config
from normexp.data import DATA, sizes
from normexp.data.base import Arrays
from normexp.training.build import Parts, build
from normexp.training.trainer import Trainer

ENOUGH_SECONDS, MAX_SECONDS = 1.0, 10.0
"""Time for the timed steps: MIN_STEPS are timed even if they take longer than the first, but not longer than the second."""

MIN_STEPS, MAX_STEPS = 4, 40

MAX_TRAIN_SAMPLES = 2000
"""Training samples that are held for the timing. The duration of a step does not depend on their number."""


def estimate_seconds(config: Config) -> float:
    """The estimated duration of a run: its start, steps, snapshots and evaluations. Raises ConfigError if the device is missing.

    The compilation of `compile` is left out, and so is its speedup.
    """
    start = time.perf_counter()
    parts = _build(dataclasses.replace(config, compile=False, debug=None))
    trainer = Trainer(parts, config, log=lambda record: None)
    built = time.perf_counter() - start
    evaluation = _time_evaluation(trainer)
    plain, probed = _time_steps(trainer)
    total, probes = parts.sizes.total_steps, parts.probes
    steps = range(1, total + 1)
    snapshots = sum(probes.due(step, total) for step in steps)
    snapshot = max(0.0, fmean(probed) - median(plain)) if probed else 0.0
    last = evaluation * (len(parts.data.val) + len(parts.data.test)) / len(parts.val_sample)
    evaluations = sum(trainer.evaluates(step) for step in steps)
    return built + total * median(plain) + snapshots * snapshot + evaluations * evaluation + last


def _build(config: Config) -> Parts:
    """The parts of a run, with random images of the data set's shape."""
    full, data = sizes(config), DATA[config.data.name]
    rng = np.random.default_rng(0)

    def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Windows of one sequence of random bytes, which share its memory."""
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
    while state.step < state.total_steps and state.step < MAX_STEPS:
        step = state.step + 1
        start = _now(trainer)
        trainer.train_step()
        seconds = _now(trainer) - start
        if step <= 2 or trainer.evaluates(step):
            other.append(seconds)
        elif probes.due(step, state.total_steps):
            probed.append(seconds)
        else:
            plain.append(seconds)
        passed = time.perf_counter() - began
        if passed > (ENOUGH_SECONDS if len(plain) >= MIN_STEPS else MAX_SECONDS):
            break
    return plain or probed or other[-1:], probed


def _now(trainer: Trainer) -> float:
    if trainer.parts.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
