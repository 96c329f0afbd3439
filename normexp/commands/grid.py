"""The runs of a grid: every combination of its values, composed and checked before anything trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from normexp.commands.compose import composing_errors, explain
from normexp.config import Config, ConfigError
from normexp.sweeps.names import run_name

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from omegaconf import DictConfig

MANY = 20
"""From so many combinations on, checking them takes seconds, and is shown."""


@dataclass(frozen=True)
class Combination:
    """tree: the composed config, None where that can't be; config: None where it can't be trained; problem: why."""

    name: str
    overrides: Sequence[str]
    tree: Mapping[str, Any] | None
    config: Config | None
    problem: str | None


def overrides_of(cfg: DictConfig) -> list[str]:
    """The overrides of a sweep: those of its file (`hydra.sweeper.params`) but for the keys that the command line
    has too, and then that one's."""
    own = list(cfg.hydra.overrides.task)
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
        (grid,) = BasicSweeper.split_arguments(parsed, None)
    except composing_errors() as error:
        if "does not support sweep type" in str(error):
            raise ConfigError(
                "interval(...) is for hydra/sweeper=optuna; a grid has values with commas or choice(...)."
            ) from error
        raise ConfigError(explain(error)) from error
    found: dict[str, Combination] = {}
    with console.status(f"checking {len(grid)} combinations") if len(grid) >= MANY else nullcontext():
        for job in grid:
            name = run_name(job)
            if name not in found:
                found[name] = _check(name, job, cfg, loader)
    return list(found.values())


def _check(name: str, overrides: Sequence[str], cfg: DictConfig, loader: ConfigLoaderImpl) -> Combination:
    from omegaconf import OmegaConf

    from normexp.validate import validate

    plain: dict[str, Any] | None = None
    try:
        tree = loader.load_sweep_config(cfg, list(overrides))
        own = OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])
        plain = cast(dict[str, Any], OmegaConf.to_container(own, resolve=True))
        return Combination(name, overrides, plain, validate(plain), None)
    except ConfigError as error:
        return Combination(name, overrides, plain, None, str(error))
    except composing_errors() as error:
        return Combination(name, overrides, None, None, explain(error))
