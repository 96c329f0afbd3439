"""A config from overrides: what `normexp train` would train, without training it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from normexp.compose.overrides import known_keys, reason
from normexp.config import Config, ConfigError, show, yaml_files

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from omegaconf import DictConfig


def compose(overrides: Sequence[str] = ()) -> Config:
    """The valid config that `normexp train OVERRIDES` would use. Raises ConfigError as it would."""
    from normexp.compose.validate import validate

    return validate(compose_tree(overrides))


def compose_tree(overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[str, Any]:
    """The same as a plain mapping, not yet validated. Raises ConfigError for what Hydra refuses."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    with hydra_with(config_dir) as app:
        try:
            tree = app.compose_config("train", list(overrides), RunMode.RUN)
            HydraConfig.instance().set_config(tree)  # for ${hydra:...}
        except composing_errors() as error:
            raise ConfigError(explain(error)) from error
    return resolved(own_part(tree))


@contextmanager
def hydra_with(config_dir: Path | None) -> Iterator[Hydra]:
    """Hydra with the shipped configs and those of a folder of the user's. It refuses configs that name code to run."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from normexp.compose.loader import Loader

    with hydra.initialize_config_dir(str(yaml_files.folder()), job_name="normexp", version_base="1.3"):
        app = GlobalHydra.instance().hydra
        assert app is not None
        app.config_loader = Loader(app.config_loader.get_search_path(), config_dir)
        yield app


def own_part(tree: DictConfig) -> DictConfig:
    """A composed config without Hydra's own keys."""
    from omegaconf import OmegaConf

    keys = [key for key in tree if key != "hydra"]
    return OmegaConf.masked_copy(tree, cast(list[str], keys))  # a key may be a number, which validation refuses


def resolved(tree: DictConfig) -> dict[str, Any]:
    """A composed config as a plain mapping. Raises ConfigError for references that lead nowhere."""
    from omegaconf import OmegaConf

    try:
        return cast(dict[str, Any], OmegaConf.to_container(tree, resolve=True))
    except composing_errors() as error:
        raise ConfigError(explain(error)) from error


def quoted(text: str) -> str:
    """A text as the value of an override. Hydra takes a backslash for itself only in front of a quote, or at the end."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def composing_errors() -> tuple[type[Exception], ...]:
    """What composing a config can raise for a user's mistake."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    return HydraException, OmegaConfBaseException, YAMLError, RecursionError


def explain(error: Exception) -> str:
    """One sentence for an error of Hydra's, OmegaConf's or the yaml reader's."""
    if isinstance(error, RecursionError):
        return "The config is nested too deeply, or a file's defaults list leads back to the file itself."
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{show(mark.name, most=200)}, line {mark.line + 1}: this is not yaml ({show(getattr(error, 'problem', error))})."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and "raised while composing" in lines[0]:  # what is wrong stands in the next line
        return show(" ".join(lines[:2]).rstrip("."), most=400) + "."
    override = re.match(r"Could not override '([^']+)'", lines[0]) if lines else None
    if override and (key := override[1].lstrip("+")) in known_keys():
        group = key.split(".")[0]
        return f"{key} is a key of {' and '.join(f'{group}={choice}' for choice in known_keys()[key])} only."
    where = getattr(error, "full_key", None)
    return (f"{show(where)}: " if where else "") + reason(error) + "."
