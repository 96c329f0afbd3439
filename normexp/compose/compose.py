"""Compose configs with Hydra: one for a run, one for a sweep as a whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from normexp.compose.errors import composing_errors, config_errors, explain
from normexp.compose.overrides import validate_overrides
from normexp.compose.validate import validate
from normexp.config import GROUPS, Config, ConfigError, yaml_files

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from omegaconf import DictConfig

    from normexp.compose.loader import Loader

EXTRAS = {"hydra/launcher=slurm": "slurm", "hydra/launcher=ray": "ray", "hydra/sweeper=optuna": "optuna"}
"""Overrides that need an optional dependency, and the name of the extra that installs it."""


def compose(overrides: Sequence[str] = ()) -> Config:
    """The config that `normexp train OVERRIDES` would train. Raises ConfigError if it is not valid."""
    return validate(compose_tree(overrides))


def compose_tree(overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[str, Any]:
    """The same as a plain mapping, resolved but not yet validated. Raises ConfigError for what Hydra refuses."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    with config_errors():
        cfg = hydra_app(config_dir).compose_config("train", list(overrides), RunMode.RUN)
        HydraConfig.instance().set_config(cfg)  # for ${hydra:...}
    return to_plain(without_hydra(cfg))


def compose_sweep(overrides: Sequence[str], config_dir: Path | None) -> tuple[DictConfig, Loader]:
    """The config of a sweep as a whole, with Hydra's own keys, and the loader that composes its runs.

    Keys of a choice, such as norm.groups=2, are left out: the sweep's config has the default choices, which may lack them.
    """
    from hydra.types import RunMode

    loader = cast("Loader", hydra_app(config_dir).config_loader)
    try:
        shared = [override for override in overrides if not is_choice_key(override)]
        return loader.load_configuration("train", shared, RunMode.MULTIRUN), loader
    except composing_errors() as error:
        extras = [EXTRAS[override] for override in overrides if override in EXTRAS]
        if extras and "hydra/" in str(error):
            raise ConfigError(f"That needs an extra: pip install 'normexp[{','.join(extras)}]'.") from error
        raise ConfigError(explain(error)) from error


def is_choice_key(override: str) -> bool:
    """Whether an override sets a key inside a group, such as norm.groups=2."""
    key = override.lstrip("+~").partition("=")[0]
    return "." in key and key.split(".")[0] in GROUPS


def is_multirun(overrides: Sequence[str], config_dir: Path | None) -> bool:
    """Whether an experiment among the overrides sets `hydra.mode: MULTIRUN`. False if they can't be composed."""
    try:
        cfg, _ = compose_sweep(validate_overrides(overrides, config_dir, sweeps=True), config_dir)
        return str(cfg.hydra.mode).upper().endswith("MULTIRUN")
    except ConfigError:
        return False


def hydra_app(config_dir: Path | None) -> Hydra:
    """Hydra's application object, with the shipped configs and those of the user's folder."""
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path

    from normexp.compose.loader import Loader

    version.setbase("1.3")  # without it, Hydra accepts deprecated syntax
    return Hydra("normexp", Loader(create_config_search_path(str(yaml_files.folder())), config_dir))


def without_hydra(cfg: DictConfig) -> DictConfig:
    """A composed config without Hydra's own keys."""
    from omegaconf import OmegaConf

    keys = [key for key in cfg if key != "hydra"]
    return OmegaConf.masked_copy(cfg, cast(list[str], keys))  # a key may be a number, which validation refuses


def to_plain(cfg: DictConfig) -> dict[str, Any]:
    """A composed config as a plain mapping. Raises ConfigError for references that can't be resolved."""
    from omegaconf import OmegaConf

    with config_errors():
        return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def quoted(text: str) -> str:
    """A string as the value of an override. Hydra's grammar escapes a backslash only before a quote or at the end."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"
