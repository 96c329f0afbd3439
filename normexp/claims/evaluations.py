"""Evaluations of a claim's finished runs: overrides such as eval.shift=contrast are options of `normexp eval`, not of training.

Arms that differ in nothing else share their runs.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from normexp.config import Config, ConfigError, show
from normexp.data import info, sizes
from normexp.rundir.evaluations import NAME, append_evaluation, read_evaluations
from normexp.training.evaluation_options import EvaluationOptions, evaluation_options, read_words

PREFIX = "eval."

TAGS = ("test/accuracy", "test/loss")
"""Metrics that an evaluation replaces."""


def split_overrides(overrides: Iterable[str]) -> tuple[list[str], tuple[str, ...]]:
    """Overrides of the training, and options of the evaluation in alphabetical order; of several with the same key, the last."""
    last = {override.partition("=")[0]: override for override in overrides}
    training = [override for key, override in last.items() if not key.startswith(PREFIX)]
    evaluation = sorted(override.removeprefix(PREFIX) for key, override in last.items() if key.startswith(PREFIX))
    return training, tuple(evaluation)


def options(words: Iterable[str], config: Config) -> EvaluationOptions:
    """The options of an evaluation of a run. Raises ConfigError for invalid ones."""
    chosen, numbers = evaluation_options(read_words(list(words)), config), sizes(config)
    test = config.data.test_size or info(config.data).test_samples
    samples = {"train": numbers.train, "val": numbers.val, "test": test}[chosen.split]
    if chosen.batch_size is not None and chosen.batch_size > samples:
        raise ConfigError(f"eval.batch_size={chosen.batch_size}: the {chosen.split} data has {samples:,} samples.")
    return chosen


def stored(directory: Path, words: Iterable[str], config: Config, step: int) -> Mapping[str, Any] | None:
    """The run's last evaluation with these options, after this step; None if there is none, or if the run can't have one."""
    try:
        wanted = {"step": step, **dataclasses.asdict(options(words, config))}
    except ConfigError:  # a figure asks for every arm everywhere, the rule only `where` it says
        return None
    found = [entry for entry in read_evaluations(directory) if wanted.items() <= entry.items()]
    return found[-1] if found else None


def evaluate(directory: Path, words: Iterable[str], config: Config) -> None:
    """Evaluate a completed run and append the result to its evaluations. Raises ConfigError and WriteError."""
    from normexp.training.evaluate_run import evaluate_run

    chosen = options(words, config)
    result = evaluate_run(directory, config, chosen)
    append_evaluation(directory, result.entry(chosen))
    if stored(directory, words, config, result.step) is None:
        raise ConfigError(f"{show(directory / NAME, 200)} can't be read, or is too large; move it away.")
