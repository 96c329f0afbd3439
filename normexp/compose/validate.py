"""Validate a composed config. This is the only place that does; code that receives a Config does not check it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from normexp import config as schema
from normexp import rundir
from normexp.compose.choices import CHOICES
from normexp.config import Config, ConfigError, expand_path, join_names, show, suggest
from normexp.data import DATA
from normexp.data.sizes import sizes
from normexp.models import LayerPlan, layers
from normexp.models.plan import matches
from normexp.norms import NORMS
from normexp.optim.optimizers import SGD
from normexp.probes import switched_on


def validate(tree: Mapping[str, Any]) -> Config:
    """The typed config of a composed mapping, with the data set's default for epochs. Raises ConfigError."""
    for group in schema.OVERLAYS:
        if isinstance(tree.get(group), Mapping):  # without the package line, its keys are nested under the group
            raise ConfigError(
                f"{group}: the file of such a choice must begin with the line '# @package _global_', and then set some key."
            )
    config = schema.read(tree, CHOICES)
    if config.epochs is not None and config.steps is not None:
        raise ConfigError(
            f"epochs={config.epochs} and steps={config.steps} are both given: leave one out, or set it to null."
        )
    if config.epochs is None and config.steps is None:
        config = replace(config, epochs=DATA[config.data.name].epochs)
    if config.name is not None:
        rundir.check_name(config.name)
    for key in ("runs_dir", "data_dir"):
        expand_path(key, getattr(config, key))
    if isinstance(config.optim, SGD) and config.optim.nesterov and config.optim.momentum == 0:
        raise ConfigError(
            "optim.nesterov=true looks ahead along the momentum, and optim.momentum=0 has none: set one of them."
        )
    _ = config.checkpoints  # raises for a string that is neither steps nor a time
    _check_sizes(config)
    plans = layers(config)
    for plan in plans:
        _check_norm(plan, config)
    if config.probe.landscape_steps and "landscape" not in switched_on(config.probe):
        raise ConfigError("probe.landscape_steps names steps, but nothing looks there: add probe.landscape=true.")
    _check_patterns("probe.layers", config.probe.layers, [plan.name for plan in plans], config)
    with_norm, with_dropout = ([plan.name for plan in plans if part in plan.possible] for part in ("norm", "dropout"))
    _check_patterns("norm.layers", config.norm.layers, with_norm, config, " that can have a norm")
    _check_patterns("dropout_layers", config.dropout_layers, with_dropout, config, " that can have dropout")
    return config


def _check_patterns(key: str, patterns: Iterable[str], names: list[str], config: Config, having: str = "") -> None:
    """Raise ConfigError for a pattern that matches no layer. `*` may match none."""
    for pattern in patterns:
        if pattern != "*" and not any(matches(name, [pattern]) for name in names):
            known = f"they are {join_names(names)}" if names else "there is none"
            raise ConfigError(
                f"{key}: no layer of model={config.model.name}{having} is called {show(pattern)}; "
                f"{known}.{suggest(pattern, names)}"
            )


def _check_sizes(config: Config) -> None:
    data, split = config.data, sizes(config)
    left = DATA[data.name].train_samples - split.val
    if split.val < 1 or left < 1:
        raise ConfigError(
            f"data.val_size={data.val_size}: it leaves no sample for {'validation' if split.val < 1 else 'training'}."
        )
    if split.train > left:
        raise ConfigError(
            f"data.train_size={data.train_size}: {data.name} has {left} training samples beside those for validation."
        )
    if data.test_size is not None and data.test_size > DATA[data.name].test_samples:
        raise ConfigError(
            f"data.test_size={data.test_size}: {data.name} has {DATA[data.name].test_samples:,} test samples."
        )
    if NORMS[config.norm.name].uses_batch and split.val < 2:
        raise ConfigError(
            f"data.val_size={data.val_size}: a single validation sample has no batch statistics; take more."
        )
    if config.batch_size > split.train:
        raise ConfigError(
            f"batch_size={config.batch_size}: there are only {split.train} training samples, so at most that."
        )


def _check_norm(plan: LayerPlan, config: Config) -> None:
    site = plan.norm_site
    if site is None:
        return
    problem = NORMS[config.norm.name].problem(config.norm, site, config.batch_size)
    if problem is not None:
        wrong, works = problem
        raise ConfigError(
            f"norm={config.norm.name} can't work in layer {plan.name} of model={config.model.name}: {wrong}. {works}"
        )
