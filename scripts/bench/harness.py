"""Shared by the benchmarks that train in their own process: loaded data, sinks without a reader, no evaluations."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from normexp.config import Config
from normexp.sinks.run_sinks import RunSinks
from normexp.training import build, trainer
from normexp.training.run import run_info


def cache_data() -> None:
    """Let consecutive builds with the same data share the loaded data, which training does not change."""
    build.load = functools.lru_cache(maxsize=1)(build.load)


@contextmanager
def all_sinks(parts: build.Parts, config: Config, folder: Path) -> Iterator[RunSinks]:
    """Open all sinks of a run in a folder. The progress bar is drawn, but goes to /dev/null."""
    with Path(os.devnull).open("w") as null:
        console = Console(file=null, force_terminal=True)
        sinks = RunSinks(folder, run_info(parts, config), console, parts.sizes.total_steps)
        yield sinks
        sinks.close(success=True)


@contextmanager
def no_evaluation() -> Iterator[None]:
    """Skip all evaluations."""
    real = trainer.evaluate, trainer.evaluate_with_batch_statistics
    trainer.evaluate = lambda *_, **__: (0.0, 0.0)
    trainer.evaluate_with_batch_statistics = lambda *_, **__: (0.0, 0.0)
    try:
        yield
    finally:
        trainer.evaluate, trainer.evaluate_with_batch_statistics = real
