"""Expand a grid into its combinations, each composed and checked before anything trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from normexp.compose.composer import Combination, Composer
from normexp.compose.errors import composing_errors, explain, reason
from normexp.config import ConfigError, DataConfig, show
from normexp.data import DATA
from normexp.sweeps.names import run_name
from normexp.sweeps.outcome import is_finished

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from normexp.compose.loader import Loader

MIN_FOR_STATUS = 20
"""From this many combinations on, checking them takes seconds, so a status line is shown."""

MAX_COMBINATIONS = 10_000
"""Checking as many takes a quarter of an hour."""


def expand_grid(cfg: DictConfig, loader: Loader, overrides: Sequence[str], console: Console) -> list[Combination]:
    """All distinct combinations, in the order of Hydra's own sweeper. Raises ConfigError if the overrides are no grid."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        _check_counts(parsed)
        (jobs,) = BasicSweeper.split_arguments(parsed, None)
    except composing_errors() as error:
        if "does not support sweep type" in str(error):
            raise ConfigError(
                "interval(...) is for hydra/sweeper=optuna; a grid has values with commas or choice(...)."
            ) from error
        raise ConfigError(explain(error)) from error
    combinations: dict[str, Combination] = {}
    composer = Composer(cfg, loader)
    with console.status(f"checking {len(jobs)} combinations") if len(jobs) >= MIN_FOR_STATUS else nullcontext():
        for job in jobs:
            name = run_name(job)
            if name not in combinations:
                combinations[name] = composer.compose(name, job)
    return list(combinations.values())


def _check_counts(parsed: Sequence[Override]) -> None:
    """Raise ConfigError for a key without values and for too many combinations."""
    total = 1
    for override in parsed:
        if override.is_discrete_sweep():
            text = show(override.input_line)
            try:
                count = sum(1 for _ in islice(override.sweep_iterator(), MAX_COMBINATIONS + 1))
            except (ValueError, ArithmeticError) as error:  # such as a step of 0 in range()
                raise ConfigError(f"{text}: {reason(error)}.") from error
            if count == 0:
                raise ConfigError(f"{text}: that is no value at all.")
            total *= count
    if total > MAX_COMBINATIONS:
        raise ConfigError(f"The sweep has more than {MAX_COMBINATIONS:,} combinations: take fewer values.")


def check_data(grid: Sequence[Combination], folder: Path) -> list[Combination]:
    """The same combinations; those that still have to train but whose data can't be loaded get a problem.

    Loading each data set once here downloads it before several processes would, and reports a damaged file only once.
    """
    problems: dict[tuple[DataConfig, str], str | None] = {}
    checked: list[Combination] = []
    for combination in grid:
        config, problem = combination.config, combination.problem
        if config is not None and not is_finished(folder / combination.name):
            key = config.data, config.data_dir
            if key not in problems:
                problems[key] = None
                try:
                    DATA[config.data.name].load(config.data, Path(config.data_dir).expanduser())
                except ConfigError as error:
                    problems[key] = str(error)
            problem = problems[key]
        checked.append(replace(combination, problem=problem))
    return checked
