"""A config from overrides, for scripts and tests: what `normexp train` would train, without training it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from normexp import configs
from normexp.config import Config


def compose(overrides: Sequence[str] = ()) -> Config:
    """The valid config that `normexp train OVERRIDES` would use. Raises ConfigError as it would."""
    import hydra
    from omegaconf import OmegaConf

    from normexp.validate import validate

    with hydra.initialize_config_dir(str(configs.folder()), version_base="1.3"):
        tree = hydra.compose("train", list(overrides))
    return validate(cast(dict[str, Any], OmegaConf.to_container(tree, resolve=True)))
