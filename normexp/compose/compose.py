"""Compose configs with Hydra: for a run, for a sweep as a whole, for the combinations of a sweep, and for printing."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from normexp.compose.argv import Arguments
from normexp.compose.errors import composing_errors, config_errors
from normexp.compose.overrides import parse_overrides, validate_overrides
from normexp.compose.validate import check_tracker, validate
from normexp.config import GROUPS, Config, ConfigError, ForbiddenKeyError, InvalidValueError, yaml_files

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from hydra.core.override_parser.types import Override
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
        cfg = _hydra(config_dir).compose_config("train", list(overrides), RunMode.RUN)
        HydraConfig.instance().set_config(cfg)  # for ${hydra:...}
    plain = to_plain(without_hydra(cfg))
    check_tracker(plain.get("tracker"))
    return with_own_choices(plain, cfg.hydra.runtime.choices)


def compose_sweep(overrides: Sequence[str], config_dir: Path | None) -> tuple[DictConfig, Loader]:
    """The config of a sweep as a whole, with Hydra's own keys, and the loader that composes its runs. Keys of a choice, such as
    norm.groups=2, are left out: the sweep's config has the default choices, which may lack them."""
    from hydra.types import RunMode

    loader = cast("Loader", _hydra(config_dir).config_loader)
    shared = [override for override in overrides if not is_choice_key(override)]
    with config_errors():
        try:
            return loader.load_configuration("train", shared, RunMode.MULTIRUN), loader
        except composing_errors() as error:
            extras = ",".join(EXTRAS[override] for override in overrides if override in EXTRAS)
            if extras and "hydra/" in str(error):
                raise ConfigError(f"Requires an optional dependency: pip install 'normexp[{extras}]'.") from error
            raise


def is_choice_key(override: str) -> bool:
    """Whether an override sets a key inside a group, such as norm.groups=2."""
    group, dot, _ = override.lstrip("+~").partition("=")[0].partition(".")
    return bool(dot) and group in GROUPS


def is_multirun(overrides: Sequence[str], config_dir: Path | None) -> bool:
    """Whether an experiment among the overrides sets `hydra.mode: MULTIRUN`. False if they can't be composed."""
    try:
        cfg, _ = compose_sweep(validate_overrides(overrides, config_dir, sweeps=True), config_dir)
        return str(cfg.hydra.mode).upper().endswith("MULTIRUN")
    except ConfigError:
        return False


def print_with_hydra(arguments: Arguments, overrides: list[str]) -> None:
    """Let Hydra print what the flags ask for: the config (`--cfg`), how it was composed (`--info`) or Hydra's own help."""
    from hydra._internal.utils import get_args_parser
    from hydra.types import RunMode

    parser = get_args_parser()
    flags = [flag for flag in arguments.flags if flag not in ("-q", "--quiet")]  # not Hydra's
    args = parser.parse_args([*flags, *overrides])
    app = _hydra(arguments.config_dir)
    with config_errors():
        if args.hydra_help:
            app.hydra_help(config_name="train", args_parser=parser, args=args)
        elif args.cfg:
            app.show_cfg("train", overrides, args.cfg, args.package, args.resolve)
        else:
            app.compose_config("train", overrides, RunMode.RUN)  # a check: not all of Hydra's info composes the config
            app.show_info(args.info, config_name="train", overrides=overrides)


def _hydra(config_dir: Path | None) -> Hydra:
    """Hydra's application object, with the shipped configs and those of the user's folder."""
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path

    from normexp.compose.hydra_compat import set_version_base
    from normexp.compose.loader import Loader

    set_version_base()
    return Hydra("normexp", Loader(create_config_search_path(str(yaml_files.folder())), config_dir))


def without_hydra(cfg: DictConfig) -> DictConfig:
    """A composed config without Hydra's own keys."""
    from omegaconf import OmegaConf

    keys: list[Any] = [key for key in cfg if key != "hydra"]  # a key may be a number, which validation refuses
    return OmegaConf.masked_copy(cfg, keys)


def to_plain(cfg: DictConfig) -> dict[str, Any]:
    """A composed config as a plain mapping. Raises ConfigError for references that can't be resolved."""
    from omegaconf import OmegaConf

    with config_errors():
        return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def with_own_choices(tree: dict[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """A plain config with the names of the user's own choices. choices: the files that Hydra composed, by group. A file based on
    a shipped choice (`defaults: [bn]`) keeps that one's name, which selects the code."""
    chosen = {group: choices[group] for group in GROUPS if group in choices and isinstance(tree.get(group), Mapping)}
    shipped = {group: (tree[group].get("name"), *yaml_files.choices(group)) for group in chosen}
    own = [f"{group}={name}" for group, name in chosen.items() if name not in shipped[group]]
    tree = {key: value for key, value in tree.items() if key != "own_choices"}
    return {**tree, "own_choices": own} if own else tree


def quoted(text: str) -> str:
    """A string as the value of an override. Hydra's grammar escapes a backslash only before a quote or at the end."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


@dataclass(frozen=True)
class Combination:
    """One run of a sweep. A sweep keeps thousands of them, so they are small. config is None if the combination is not valid;
    tree is then its composed mapping, or None if composing failed. problem says why it can't be trained. invalid_value: whether
    that is a value that no run can have, such as lr=abc."""

    name: str
    overrides: Sequence[str]
    tree: Mapping[str, Any] | None
    config: Config | None
    problem: str | None
    invalid_value: bool = False


class Composer:
    """Compose combinations as Hydra does, but each distinct set of choices only once, since that takes Hydra 0.1 s. Hydra
    composes the files of all choices first and then sets the values of the other overrides on the result. The same function of
    Hydra sets them here on a copy, so interpolations, lists and errors come out the same."""

    def __init__(self, cfg: DictConfig, loader: Loader) -> None:
        self._cfg, self._loader = cfg, loader
        self._repository = loader._parse_overrides_and_create_caching_repo(
            cfg.hydra.job.config_name, list(cfg.hydra.overrides.hydra)
        )[1]
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._bases: dict[tuple[str, ...], tuple[DictConfig, Mapping[str, str]]] = {}

    def compose(self, name: str, overrides: Sequence[str]) -> Combination:
        """A combination with its config, or with the reason why it has none."""
        plain: dict[str, Any] | None = None
        try:
            plain = self.tree(overrides)
            return Combination(name, overrides, None, validate(plain), None)
        except ForbiddenKeyError:
            raise
        except ConfigError as error:
            return Combination(name, overrides, plain, None, str(error), isinstance(error, InvalidValueError))

    def tree(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The composed config as a plain mapping, without Hydra's own keys. Raises ConfigError if composing fails."""
        with config_errors():
            tree = copy.deepcopy(self._base(overrides)[0])
            parsed = [self._parse(text) for text in overrides]
            self._loader._apply_overrides_to_config([override for override, sets_value in parsed if sets_value], tree)
        return with_own_choices(to_plain(tree), self._base(overrides)[1])

    def missing_keys(self, overrides: Sequence[str]) -> dict[str, str]:
        """The overrides of keys that the combination's choices lack, each with that choice: {"norm.groups=2": "norm=bn"}.
        Raises ConfigError if composing fails."""
        from omegaconf import OmegaConf

        chosen = {text.partition("=")[0]: text for text in overrides}
        missing = {}
        with config_errors():
            base = self._base(overrides)[0]
            for text in filter(is_choice_key, overrides):
                group, _, name = self._parse(text)[0].key_or_group.partition(".")
                if OmegaConf.is_dict(base[group]) and name not in base[group]:
                    missing[text] = chosen.get(group, f"{group}={base[group].name}")
        return missing

    def _base(self, overrides: Sequence[str]) -> tuple[DictConfig, Mapping[str, str]]:
        """The composed choices of a combination, before any other value is set, and their files by group."""
        from omegaconf import OmegaConf

        choices = tuple(text for text in overrides if not self._parse(text)[1])
        if choices not in self._bases:
            cfg = self._loader.load_sweep_config(self._cfg, list(choices))
            base = without_hydra(cfg)
            OmegaConf.set_struct(base, True)  # as in the full config: setting an unknown key is an error
            self._bases[choices] = base, dict(cfg.hydra.runtime.choices)
        return self._bases[choices]

    def _parse(self, text: str) -> tuple[Override, bool]:
        """An override, and whether it sets a value. The others choose a file or set a key of Hydra's."""
        if text not in self._parsed:
            (override,) = parse_overrides([text])
            key, value = override.key_or_group, override.value()
            chooses = self._repository.group_exists(key) and not isinstance(value, dict)
            for_hydra = key == "hydra" or override.is_hydra_override()
            self._parsed[text] = override, not (chooses or for_hydra or override.is_sweep_override())
        return self._parsed[text]
