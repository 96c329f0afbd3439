"""The runs of a grid: every combination of its values, composed and checked before anything trains."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from normexp.compose.compose import composing_errors, explain, own_part, resolved
from normexp.compose.overrides import reason
from normexp.config import GROUPS, Config, ConfigError, DataConfig, ForbiddenKeyError, InvalidValueError, show
from normexp.sweeps.names import run_name
from normexp.sweeps.outcome import ended

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

MANY = 20
"""From so many combinations on, checking them takes seconds, and is shown."""

MOST = 10_000
"""Combinations of a sweep: checking as many takes a quarter of an hour."""


@dataclass(frozen=True)
class Combination:
    """config: the composed config, typed; None where it is not valid. tree: the same of one that is not, as a mapping; None where
    composing fails. problem: why it can't be trained; a valid one may lack its data. invalid_value: whether that is a value that
    no run can have, such as lr=abc. There may be thousands: keep them small."""

    name: str
    overrides: Sequence[str]
    tree: Mapping[str, Any] | None
    config: Config | None
    problem: str | None
    invalid_value: bool = False


def of_choices(override: str) -> bool:
    """Whether an override is of a key that a group's choice has, as `norm.groups=2`. The sweep's own config is made without: it
    has the default choices, which may not have the key."""
    key = override.lstrip("+~").partition("=")[0]
    return "." in key and key.split(".")[0] in GROUPS


def overrides_of(cfg: DictConfig, more: Sequence[str]) -> list[str]:
    """The overrides of a sweep: those of its file (`hydra.sweeper.params`) but for the keys that the command line
    has too, and then that one's. more: those that the sweep's own config was made without."""
    own = [*cfg.hydra.overrides.task, *more]
    keys = {override.partition("=")[0] for override in own}
    filed = cfg.hydra.sweeper.get("params") or {}
    return [f"{key}={value}" for key, value in filed.items() if key not in keys] + own


def combinations(
    cfg: DictConfig, loader: ConfigLoaderImpl, overrides: Sequence[str], console: Console
) -> list[Combination]:
    """Each combination once, in the order in which Hydra's own sweeper has them. Raises ConfigError for what is no grid."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        _check_counts(parsed)
        (grid,) = BasicSweeper.split_arguments(parsed, None)
    except composing_errors() as error:
        if "does not support sweep type" in str(error):
            raise ConfigError(
                "interval(...) is for hydra/sweeper=optuna; a grid has values with commas or choice(...)."
            ) from error
        raise ConfigError(explain(error)) from error
    found: dict[str, Combination] = {}
    composer = Composer(cfg, loader)
    with console.status(f"checking {len(grid)} combinations") if len(grid) >= MANY else nullcontext():
        for job in grid:
            name = run_name(job)
            if name not in found:
                found[name] = composer.compose(name, job)
    return list(found.values())


def _check_counts(parsed: Sequence[Override]) -> None:
    """ConfigError for a key without a value, and for more combinations than anyone could train."""
    total = 1
    for override in parsed:
        if override.is_discrete_sweep():
            text = show(override.input_line)
            try:
                count = sum(1 for _ in islice(override.sweep_iterator(), MOST + 1))
            except (ValueError, ArithmeticError) as error:  # of range(): a step of 0, say
                raise ConfigError(f"{text}: {reason(error)}.") from error
            if count == 0:
                raise ConfigError(f"{text}: that is no value at all.")
            total *= count
    if total > MOST:
        raise ConfigError(f"The sweep has more than {MOST:,} combinations: take fewer values.")


def with_data(grid: Sequence[Combination], folder: Path) -> list[Combination]:
    """The same, but those that are yet to be trained in the folder have a problem where their data can't be had.

    The files are read for that, once for all runs: what is missing is downloaded before several processes miss it, and what is
    damaged is told once.
    """
    from normexp.data import DATA

    problems: dict[tuple[DataConfig, str], str | None] = {}
    found: list[Combination] = []
    for each in grid:
        config = each.config
        if config is not None and not ended(folder / each.name):
            key = config.data, config.data_dir
            if key not in problems:
                problems[key] = None
                try:
                    DATA[config.data.name].load(config.data, Path(config.data_dir).expanduser())
                except ConfigError as error:
                    problems[key] = str(error)
            if problems[key]:
                found.append(replace(each, problem=problems[key]))
                continue
        found.append(each)
    return found


class Composer:
    """Composes the combinations of a sweep. Hydra composes each distinct set of choices once, which takes a tenth of a second.

    Hydra itself composes the files of all choices first, and sets the values of the other overrides on the result. Its own
    function sets them here on a copy, so that interpolations, lists and errors come out the same.
    """

    def __init__(self, cfg: DictConfig, loader: ConfigLoaderImpl) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        self._cfg, self._loader = cfg, loader
        self._parser = OverridesParser.create()
        _, self._repository = loader._parse_overrides_and_create_caching_repo(
            cfg.hydra.job.config_name, list(cfg.hydra.overrides.hydra)
        )
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, name: str, overrides: Sequence[str]) -> Combination:
        """A combination of a sweep's overrides, with its config or with what is wrong with it."""
        from normexp.compose.validate import validate

        plain: dict[str, Any] | None = None
        try:
            plain = self.tree(overrides)
            return Combination(name, overrides, None, validate(plain), None)
        except ForbiddenKeyError:
            raise
        except ConfigError as error:
            return Combination(name, overrides, plain, None, str(error), isinstance(error, InvalidValueError))
        except composing_errors() as error:
            return Combination(name, overrides, None, None, explain(error))

    def tree(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The composed config as a plain mapping, without Hydra's own part. Raises what composing raises."""
        parsed = [self._parse(text) for text in overrides]
        choices = tuple(text for text, (_, sets_value) in zip(overrides, parsed, strict=True) if not sets_value)
        tree = copy.deepcopy(self._base(choices))
        self._loader._apply_overrides_to_config([override for override, sets_value in parsed if sets_value], tree)
        return resolved(tree)

    def _parse(self, text: str) -> tuple[Override, bool]:
        """An override, and whether it sets a value; others choose a file or are Hydra's."""
        if text not in self._parsed:
            (override,) = self._parser.parse_overrides([text])
            key, value = override.key_or_group, override.value()
            chooses = self._repository.group_exists(key) and not isinstance(value, dict)
            hydras = key == "hydra" or override.is_hydra_override()
            self._parsed[text] = override, not (chooses or hydras or override.is_sweep_override())
        return self._parsed[text]

    def _base(self, choices: tuple[str, ...]) -> DictConfig:
        from omegaconf import OmegaConf

        if choices not in self._bases:
            base = own_part(self._loader.load_sweep_config(self._cfg, list(choices)))
            OmegaConf.set_struct(base, True)  # as the whole is: a key that isn't there is an error
            self._bases[choices] = base
        return self._bases[choices]
