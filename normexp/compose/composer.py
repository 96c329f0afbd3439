"""Compose many combinations of overrides quickly."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.compose.compose import to_plain, without_hydra
from normexp.compose.errors import config_errors
from normexp.compose.overrides import parse_overrides
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, ForbiddenKeyError, InvalidValueError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from normexp.compose.loader import Loader


@dataclass(frozen=True)
class Combination:
    """One run of a sweep. A sweep keeps thousands of them, so they are small.

    config is None if the combination is not valid; tree is then its composed mapping, or None if composing failed.
    problem says why it can't be trained. invalid_value: whether that is a value that no run can have, such as lr=abc.
    """

    name: str
    overrides: Sequence[str]
    tree: Mapping[str, Any] | None
    config: Config | None
    problem: str | None
    invalid_value: bool = False


class Composer:
    """Compose combinations as Hydra does, but each distinct set of choices only once, since that takes Hydra 0.1 s.

    Hydra composes the files of all choices first and then sets the values of the other overrides on the result. The same
    function of Hydra sets them here on a copy, so interpolations, lists and errors come out the same.
    """

    def __init__(self, cfg: DictConfig, loader: Loader) -> None:
        self._cfg, self._loader = cfg, loader
        _, self._repository = loader._parse_overrides_and_create_caching_repo(
            cfg.hydra.job.config_name, list(cfg.hydra.overrides.hydra)
        )
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._bases: dict[tuple[str, ...], DictConfig] = {}

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
            parsed = [self._parse(text) for text in overrides]
            choices = tuple(text for text, (_, sets_value) in zip(overrides, parsed, strict=True) if not sets_value)
            tree = copy.deepcopy(self._base(choices))
            self._loader._apply_overrides_to_config([override for override, sets_value in parsed if sets_value], tree)
        return to_plain(tree)

    def _parse(self, text: str) -> tuple[Override, bool]:
        """An override, and whether it sets a value. The others choose a file or set a key of Hydra's."""
        if text not in self._parsed:
            (override,) = parse_overrides([text])
            key, value = override.key_or_group, override.value()
            chooses = self._repository.group_exists(key) and not isinstance(value, dict)
            for_hydra = key == "hydra" or override.is_hydra_override()
            self._parsed[text] = override, not (chooses or for_hydra or override.is_sweep_override())
        return self._parsed[text]

    def _base(self, choices: tuple[str, ...]) -> DictConfig:
        from omegaconf import OmegaConf

        if choices not in self._bases:
            base = without_hydra(self._loader.load_sweep_config(self._cfg, list(choices)))
            OmegaConf.set_struct(base, True)  # as in the full config: setting an unknown key is an error
            self._bases[choices] = base
        return self._bases[choices]
