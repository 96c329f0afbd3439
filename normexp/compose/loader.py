"""Hydra's config loader, extended by the user's config folder and by a check that no config names code to run."""

import functools
import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from normexp.compose.errors import reason
from normexp.compose.overrides import HYDRA_PREFIXES, LAUNCHER_LABELS
from normexp.config import GROUPS, OVERLAYS, ConfigError, ForbiddenKeyError, installed, show, yaml_files

SET_BY_EXPERIMENTS = ("hydra.mode", "hydra.sweeper.params")
SET_BY_HYDRA = ("hydra.runtime", "hydra.overrides", "hydra.job.override_dirname", "hydra.job.config_name")

CODE_KEYS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "custom_search_space")
"""Keys whose values Hydra and its plugins import and call."""


class YamlFolder(FileConfigSource):
    """A folder of yaml files, which may begin with a byte order mark and comments. Ignores all but readable regular files."""

    def is_config(self, config_path: str) -> bool:
        return super().is_config(config_path) and yaml_files.is_choice(self._file(config_path))

    def load_config(self, config_path: str) -> ConfigResult:
        path = self._file(config_path)
        try:
            with path.open(encoding="utf-8-sig") as file:
                # Hydra finds no directives, such as `# @package _global_`, after other comments.
                top = takewhile(lambda line: not line.strip() or line.startswith("#"), file)
                header = self._get_header_dict("".join(line for line in top if re.match(r"#\s*@", line)))
                file.seek(0)
                config = OmegaConf.load(file)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{show(path, 200)} must be encoded in UTF-8.") from error
        if isinstance(config, ListConfig):
            raise ConfigError(f"{show(path, 200)} must consist of keys and values, as in 'lr: 0.1'.")
        if switches := yaml_files.added_switches(path):
            config = OmegaConf.merge({key: value == "true" for key, (value, _) in switches.items()}, config)
        return ConfigResult(config=config, path=self.full_path(), provider=self.provider, header=header)

    def _file(self, config_path: str) -> Path:
        return Path(self.path, self._normalize_file_name(config_path))


class InstalledChoices(YamlFolder):
    """The yaml files of other packages' components, and no other files of these packages."""

    def available(self) -> bool:
        return bool(installed.components())

    def is_group(self, config_path: str) -> bool:
        return bool(self.list(config_path, None))

    def is_config(self, config_path: str) -> bool:
        return yaml_files.is_choice(self._file(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        group = config_path.strip("/")
        names = installed.names(group) if results_filter is not ObjectType.GROUP else []
        return [name for name in names if self.is_config(f"{group}/{name}")]

    def _file(self, config_path: str) -> Path:
        group, _, name = config_path.strip("/").partition("/")
        is_switch = group == "probe"  # a line of other files
        return (None if is_switch else installed.config_file(group, name.removesuffix(".yaml"))) or Path()


class Loader(ConfigLoaderImpl):
    """Composes as Hydra does. Raises ConfigError if a file sets a key of Hydra's that only normexp may set, or if the user's
    folder has a file of the same name as a chosen file that is shipped."""

    def __init__(self, search_path: ConfigSearchPath, config_dir: Path | None) -> None:
        self.config_dir = config_dir
        if config_dir is not None:
            schema = SearchPathQuery(provider="schema")  # Hydra's last entry, so shipped choices win over the user's
            search_path.prepend("--config-dir", f"file://{config_dir.absolute()}", schema)
        for root in reversed(yaml_files.roots()[:-1]):  # shipped choices come after them
            search_path.prepend("registered", f"file://{root}")
        super().__init__(search_path)
        self.repository.sources = [
            YamlFolder(source.provider, source.path) if source.scheme() == "file" else source
            for source in self.repository.sources
        ]
        main = next(i for i, source in enumerate(self.repository.sources) if source.provider == "main")
        self.repository.sources.insert(main + 1, InstalledChoices("installed packages", ""))

    def _load_configuration_impl(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: Any, **kwargs: Any
    ) -> DictConfig:
        # Hydra 1.3 and 1.4 call this for a single run, for a sweep as a whole, and for each of its runs.
        try:
            config = super()._load_configuration_impl(config_name, overrides, run_mode, *args, **kwargs)
        except (ConfigError, OmegaConfBaseException):
            raise
        except ValueError as error:  # raised by Hydra for a defaults list or a header line
            raise ConfigError(f"{reason(error)}.") from error
        except (AssertionError, AttributeError) as error:  # raised for keys of a defaults list, and for `hydra: null`
            raise ConfigError("Hydra can't read a defaults list, or the key hydra, of these configs.") from error
        keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
        if self.config_dir is not None or any(key.startswith(HYDRA_PREFIXES) for key in keys):
            _check_keys(config, config_name, keys)
        if self.config_dir is not None and run_mode is not RunMode.MULTIRUN:  # a sweep has the default choices
            _check_names(self.config_dir, config.hydra.runtime.choices)
        return config


def _check_names(folder: Path, choices: Mapping[str, str]) -> None:
    """Raise ForbiddenKeyError if the user's folder has a file of the same name as a chosen file that is shipped."""
    for group in (*GROUPS, *OVERLAYS):
        path = folder / group / f"{choices.get(group)}.yaml"
        if choices.get(group) in yaml_files.choices(group) and yaml_files.is_choice(path):
            problem = "has the name of an existing choice and would not be used: rename it."
            raise ForbiddenKeyError(f"{show(path, 200)} {problem}")


def _check_keys(config: DictConfig, config_name: str | None, typed: list[str]) -> None:
    """Raise ForbiddenKeyError for a key that only shipped configs may set. typed: the keys that overrides set. Values are
    compared unresolved: a reference always differs from the shipped value, whatever it resolves to."""
    choices = (f"{group}={name}" for group, name in config.hydra.runtime.choices.items())
    plugin = re.compile(r"hydra/(launcher|sweeper)[a-z/]*=\w+")  # chosen by name, without a path or a package
    shipped = _shipped(config_name, tuple(filter(plugin.fullmatch, choices)))
    for path, value in _leaves(OmegaConf.to_container(config, resolve=False)):
        if shipped.get(path, shipped) == value:
            continue
        if any(key in CODE_KEYS for key in path.split(".")):
            raise ForbiddenKeyError(f"{show(path)} is not allowed in configs: it names code to run.")
        if not _within(path, "hydra") or _within(path, *SET_BY_EXPERIMENTS, *SET_BY_HYDRA):
            continue
        of_plugin, text = path.startswith(("hydra.launcher.", "hydra.sweeper.")), isinstance(value, str)
        if of_plugin and text and "${" in value:
            raise ForbiddenKeyError(f"{show(path)}: Hydra's keys can't refer to other keys.")
        if _within(path, *typed) or (of_plugin and not text):
            continue
        if not of_plugin:
            raise ForbiddenKeyError(f"{show(path)} is set by normexp; use runs_dir and name for the location of runs.")
        if not (path in LAUNCHER_LABELS and value.isprintable()):
            raise ForbiddenKeyError(f"{show(path)} can only be set on the command line: {show(path)}=...")


@functools.cache
def _shipped(config_name: str | None, choices: tuple[str, ...]) -> Mapping[str, Any]:
    """All keys and values of the shipped config with these launchers and sweepers."""
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


def _within(path: str, *keys: str) -> bool:
    return any(path == key or path.startswith(f"{key}.") for key in keys)
