"""Validate a composed config. This is the only place that does; code that receives a Config does not check it again."""

import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from normexp import config as schema
from normexp import rundir
from normexp.compose.choices import CHOICES
from normexp.config import Config, ConfigError, DataConfig, expand_path, join_names, show, suggest
from normexp.data import DATA, info, sizes
from normexp.models import MODELS, LayerPlan, layers, zero_last
from normexp.models.activations import find_activation
from normexp.models.base import matches, normalized_weights
from normexp.models.init import NormalInit
from normexp.norms import NORMS, Site
from normexp.optim.optimizers import SGD
from normexp.probes import switched_on
from normexp.weights import WEIGHTS

MAX_ZCA_VALUES = 4096
"""The eigenvectors of a larger covariance take more than a minute. CIFAR-10 has 3,072 values per image."""

MAX_ADVISED_BATCH = 1024
"""Largest micro-batch to try for a norm that needs larger ones: batch norms need 2 samples, groups of channels a few more."""


def validate(tree: Mapping[str, Any]) -> Config:
    """The typed config of a composed mapping, with the data set's default for epochs. Raises ConfigError."""
    for group in schema.OVERLAYS:
        if isinstance(tree.get(group), Mapping):  # without the package line, its keys are nested under the group
            raise ConfigError(f"{group}: its file has no line '# @package _global_' at the top, before the first key.")
    config = schema.read(tree, CHOICES)
    if config.epochs is None and config.steps is None:
        config = replace(config, epochs=DATA[config.data.name].epochs)
    for problem in _problems(config):
        raise ConfigError(problem)
    return config


def check_tracker(name: object) -> None:
    """Raise ConfigError if the library of tracker=NAME is not installed. Not part of `validate`: stored runs can be read without
    it."""
    if not isinstance(name, str) or name not in schema.TRACKERS:
        return  # null, or for `validate` to refuse
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:  # without an origin, a folder: wandb leaves one of its name
        raise ConfigError(
            f"tracker={name} requires an optional dependency: pip install 'normexp[{name}]'. To train without it: tracker=null"
        )


def _problems(config: Config) -> Iterator[str]:
    """Values that don't fit together. Later checks rely on the earlier ones."""
    if config.epochs is not None and config.steps is not None:
        yield f"epochs={config.epochs} and steps={config.steps} are both given: leave one out or set it to null."
    if config.name is not None:
        rundir.check_name(config.name)
    for key in ("runs_dir", "data_dir"):
        expand_path(key, getattr(config, key))
    if isinstance(config.optim, SGD) and config.optim.nesterov and config.optim.momentum == 0:
        yield "optim.nesterov=true needs optim.momentum above 0."
    _ = config.checkpoints  # raises for a string that is neither steps nor a time
    data, split, source = config.data, sizes(config), info(config.data)
    left = source.train_samples - split.val
    if split.val < 1 or left < 1:
        empty, works = ("validation", "larger") if split.val < 1 else ("training", "smaller")
        yield f"data.val_size={data.val_size}: no samples left for {empty}. Use a {works} one."
    if split.train > left:
        yield f"data.train_size={data.train_size}: {data.name} has {left} training samples in addition to those for validation."
    if data.test_size is not None and data.test_size > source.test_samples:
        yield f"data.test_size={data.test_size}: {data.name} has {source.test_samples:,} test samples."
    yield from _input_problems(data, source.shape)
    if NORMS[config.norm.name].uses_batch and min(split.val, config.eval_samples or split.val) < 2:
        cause = f"data.val_size={data.val_size}" if split.val < 2 else "eval_samples=1"
        yield f"{cause}: batch statistics need at least 2 validation samples."
    if config.batch_size > split.train:
        yield f"batch_size={config.batch_size}: batch_size can be at most {split.train}, the number of training samples."
    if config.batch_size % config.accumulate:
        yield (
            f"accumulate={config.accumulate}: a batch of {config.batch_size} samples can't be divided into {config.accumulate} "
            "micro-batches. accumulate must divide batch_size."
        )
    find_activation(config.activation)  # raises ConfigError if it is of a package and can't be used
    plans = layers(config)
    yield from _norm_problems(config, plans)
    yield from _trainable_problems(config, plans)
    yield from zero_last.problems(config, plans)
    yield from _weight_problems(config, plans)
    if config.probe.landscape_steps and "landscape" not in switched_on(config.probe):
        yield "probe.landscape_steps has no effect without the landscape: add probe.landscape=true."
    yield from _pattern_problems(config, plans)


def _input_problems(data: DataConfig, shape: tuple[int, ...]) -> Iterator[str]:
    if data.augment and len(shape) == 1:
        yield f"data.augment={show(data.augment)} shifts or flips images, but data={data.name} has vectors. Use data.augment=[]."
    if data.inputs == "zca" and math.prod(shape) > MAX_ZCA_VALUES:
        yield (
            f"data.inputs=zca: whitening needs the covariance of all {math.prod(shape):,} values of a sample; at most "
            f"{MAX_ZCA_VALUES:,} are possible. Use data.inputs=standardize_pixel, or smaller images."
        )


def _norm_problems(config: Config, plans: Sequence[LayerPlan]) -> Iterator[str]:
    if config.norm.qk and config.norm.name != "none" and not MODELS[config.model.name].attention:
        yield "norm.qk=true needs queries and keys: use model=vit, or set it to false."
    if getattr(config.norm, "per_step", False) and not any(plan.recurrence for plan in plans):
        yield "norm.per_step=true needs time steps: use model=rnn, or set it to false."
    for plan in plans:
        site = plan.site("norm")
        if site and (problem := NORMS[config.norm.name].problem(config.norm, site, config.micro_batch_size)):
            wrong, works = problem
            where = f"layer {plan.name} of model={config.model.name}"
            if config.accumulate > 1 and (other := _other_batch(config, site)):
                where += f" with micro-batches of {config.micro_batch_size} (batch_size / accumulate)"
                works = other
            yield f"norm={config.norm.name} can't work in {where}: {wrong}. {works}"
        if site and site.gates > 1 and not NORMS[config.norm.name].gated:
            gated = join_names([norm for norm, entry in NORMS.loaded.items() if entry.gated])
            yield (
                f"norm={config.norm.name} can't work in layer {plan.name} of model={config.model.name}: it can't normalize each "
                f"of {site.gates} gates by itself. Use norm={gated}."
            )


def _trainable_problems(config: Config, plans: Sequence[LayerPlan]) -> Iterator[str]:
    if config.trainable == "all":
        return
    norm, decay = config.norm, config.optim.weight_decay
    sites = [site for plan in plans if (site := plan.site("norm"))]
    if not any(NORMS[norm.name].parameters(norm, site) for site in sites):
        without, works = ("norm.affine=false", "norm.affine=true") if sites else (f"norm={norm.name}", "norm=bn")
        yield f"trainable={config.trainable}: with {without}, norms have no parameters to train. Use {works}."
    if decay > 0:
        others = f"parameters that trainable={config.trainable} does not train"
        yield f"optim.weight_decay={decay} would change the {others}. Use optim.weight_decay=0."


def _other_batch(config: Config, site: Site) -> str | None:
    """Advice if fewer or larger micro-batches would work at a site; None otherwise."""
    norm, batch_size, accumulate = NORMS[config.norm.name], config.batch_size, config.accumulate
    for fewer in range(accumulate - 1, 0, -1):
        if batch_size % fewer == 0 and norm.problem(config.norm, site, batch_size // fewer) is None:
            return f"Use accumulate={fewer}."
    for size in range(config.micro_batch_size + 1, MAX_ADVISED_BATCH + 1):
        if norm.problem(config.norm, site, size) is None:
            return f"Use batch_size={size * accumulate}."
    return None


def _weight_problems(config: Config, plans: Sequence[LayerPlan]) -> Iterator[str]:
    entry, init = WEIGHTS[config.weight.name], config.init
    for filters in normalized_weights(config, plans).values():
        if problem := entry.problem(config.weight, filters):
            wrong, works = problem
            yield f"weight={entry.name} can't work in layer {filters.layer} of model={config.model.name}: {wrong}. {works}"
    if init.input_std is not None and any(plan.recurrence for plan in plans):
        yield f"init.input_std={init.input_std} can't rescale recurrent layers. Set init.input_std=null, or use another model."
    if entry.cancels_scale and init.input_std is not None:
        yield (
            f"init.input_std={init.input_std}: weight={entry.name} undoes it, because it cancels the scale of the weights. Set "
            "init.input_std=null, or use weight=weight_norm."
        )
    if entry.name != "none" and isinstance(init, NormalInit) and init.std == 0:
        yield f"init.std=0: weight={entry.name} can't normalize weights that are all 0. Use init.std above 0."


def _pattern_problems(config: Config, plans: Sequence[LayerPlan]) -> Iterator[str]:
    """Patterns that match no layer. `*` may match none."""
    for key, patterns, part, having in (
        ("probe.layers", config.probe.layers, None, ""),
        ("norm.layers", config.norm.layers, "norm", " that can have a norm"),
        ("dropout_layers", config.dropout_layers, "dropout", " that can have dropout"),
    ):
        names = [plan.name for plan in plans if part is None or part in plan.possible]
        known = f"choose from {join_names(names)}" if names else "it has no such layers"
        for pattern in patterns:
            if pattern != "*" and not any(matches(name, [pattern]) for name in names):
                where = f"no layer of model={config.model.name}{having} matches {show(pattern)}"
                yield f"{key}: {where}; {known}.{suggest(pattern, names)}"
