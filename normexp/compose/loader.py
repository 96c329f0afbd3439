"""Hydra's config loader with the user's config folder in it, and with checks: no config names code to run."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from normexp.compose.overrides import HYDRAS, reason
from normexp.config import ConfigError, ForbiddenKeyError, show, yaml_files

OPEN = (
    *("hydra.mode", "hydra.sweeper.params", "hydra.runtime", "hydra.overrides"),
    *("hydra.job.override_dirname", "hydra.job.config_name"),
)
"""Keys of Hydra's that may have any value: an experiment sets the first two, Hydra itself the others."""

LABELS = tuple(
    f"hydra.launcher.{key}"
    for key in ("partition", "account", "qos", "gres", "constraint", "exclude", "comment", "mem_per_cpu", "mem_per_gpu")
)
"""Text that a file may set. Other text of a launcher or sweeper can be a command, as `setup` is, or name code to import."""

PLUGIN = re.compile(r"[a-z/]+=\w+")
"""A choice of a launcher or sweeper by its name alone, without a path or a package."""

CODE = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "custom_search_space")
"""Keys with which Hydra and its plugins import and call what a value names."""


class Folder(FileConfigSource):
    """A folder of yaml files. They may begin with a byte order mark; what can't be read as a file is ignored."""

    def is_config(self, config_path: str) -> bool:
        return super().is_config(config_path) and yaml_files.is_choice(self._file(config_path))

    def load_config(self, config_path: str) -> ConfigResult:
        path = self._file(config_path)
        try:
            with path.open(encoding="utf-8-sig") as file:
                header = self._get_header_dict(file.read(512))
                file.seek(0)
                config = OmegaConf.load(file)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{show(path, 200)} must be encoded in UTF-8.") from error
        if isinstance(config, ListConfig):
            raise ConfigError(f"{show(path, 200)} must consist of keys and values, as in 'lr: 0.1'.")
        return ConfigResult(config=config, path=self.full_path(), provider=self.provider, header=header)

    def _file(self, config_path: str) -> Path:
        return Path(self.path, self._normalize_file_name(config_path))


class Loader(ConfigLoaderImpl):
    """Composes as Hydra does. Raises ConfigError for a config with a key of Hydra's that files must not set."""

    def __init__(self, search_path: ConfigSearchPath, config_dir: Path | None) -> None:
        self.config_dir = config_dir
        if config_dir is not None:
            schema = SearchPathQuery(provider="schema")  # the last one: shipped choices come before the user's
            search_path.prepend("--config-dir", f"file://{config_dir.absolute()}", schema)
        super().__init__(search_path)
        self.repository.sources = [
            Folder(source.provider, source.path) if source.scheme() == "file" else source
            for source in self.repository.sources
        ]

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        try:
            config = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        except ConfigError:
            raise
        except ValueError as error:  # Hydra's, for a defaults list or a header line
            raise ConfigError(f"{reason(error)}.") from error
        except (AssertionError, AttributeError) as error:  # Hydra's, for keys of a defaults list, and for `hydra: null`
            raise ConfigError("Hydra can't read a defaults list or the key hydra of these configs.") from error
        keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
        if self.config_dir is not None or any(key.startswith(HYDRAS) for key in keys):
            _check(config, config_name, keys)
        return config


def _check(config: DictConfig, config_name: str | None, typed: list[str]) -> None:
    """ForbiddenKeyError for a key that only shipped configs may set. typed: keys that overrides set.

    Values are compared unresolved: whatever a reference leads to, it is not what is shipped.
    """
    choices = [f"{group}={name}" for group, name in config.hydra.runtime.choices.items() if group.startswith(HYDRAS)]
    shipped = _shipped(config_name, tuple(choice for choice in choices if PLUGIN.fullmatch(choice)))
    for path, value in _leaves(OmegaConf.to_container(config, resolve=False)):
        of_plugin = path.startswith(("hydra.launcher.", "hydra.sweeper."))
        text = isinstance(value, str)
        if shipped.get(path, shipped) == value:
            continue
        if any(key in CODE for key in path.split(".")):
            raise ForbiddenKeyError(f"{show(path)} is not allowed in configs: it names code to run.")
        if not _within(path, "hydra") or any(_within(path, key) for key in OPEN):
            continue
        if of_plugin and text and "${" in value:
            raise ForbiddenKeyError(f"{show(path)}: a key of Hydra's can't refer to another.")
        if any(_within(path, key) for key in typed) or (of_plugin and not text):
            continue
        if of_plugin and not (path in LABELS and value.isprintable()):
            raise ForbiddenKeyError(f"{show(path)} can't be set in a file, but on the command line: {show(path)}=...")
        if not of_plugin:
            raise ForbiddenKeyError(
                f"{show(path)} can't be set in a config: normexp sets it itself; runs_dir and name say where runs go."
            )


@functools.cache
def _shipped(config_name: str | None, choices: tuple[str, ...]) -> Mapping[str, Any]:
    """Every key and value of the config with these launchers and sweepers, as it is shipped."""
    from hydra._internal.utils import create_config_search_path

    loader = ConfigLoaderImpl(create_config_search_path(str(yaml_files.folder())))
    config = loader.load_configuration(config_name, list(choices), RunMode.RUN)
    return dict(_leaves(OmegaConf.to_container(config, resolve=False)))


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths such as `hydra.run.dir`, with their values."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    if not isinstance(node, dict) or not node:
        yield path, node
        return
    for key, value in node.items():
        yield from _leaves(value, f"{path}.{key}" if path else str(key))


def _within(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")
