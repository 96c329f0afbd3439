"""Table of a config's network, without torch: parts and shape of each layer, and the axes of its norm."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normexp.config import Config, NormConfig, show
from normexp.data import sizes
from normexp.models import MODELS, layers
from normexp.models.activations import find_activation
from normexp.models.base import LayerPlan, normalized_weights
from normexp.norms import NORMS, Site
from normexp.weights import WEIGHTS

FEW_VALUES = 16  # fewer make noisy statistics: the relative error of a variance is about sqrt(2/n), here a third


@dataclass(frozen=True)
class Row:
    """A layer. parameters: of the linear layer or convolution, with those of its weight's normalization. norm_parameters: of the
    norm and the activation. statistics: description of the norm's axes, empty without a norm. values: number of values per mean.
    """

    name: str
    parts: tuple[str, ...]
    output: tuple[int, ...]
    parameters: int
    norm_parameters: int
    statistics: str
    values: int


def describe(config: Config) -> list[Row]:
    """One row per layer, in the order in which they compute."""
    norm, weight, rows = NORMS[config.norm.name], WEIGHTS[config.weight.name], []
    plans = layers(config)
    normalized = normalized_weights(config, plans)
    for plan in plans:
        if plan.observed:
            continue
        words = {
            "weight": "conv" if plan.kernel and len(plan.outputs) == 3 else "linear",
            "norm": norm.name,
            "activation": plan.activation or config.activation,
        }
        if plan.name in normalized:
            words["weight"] = f"{weight.name} {words['weight']}"
        parts = tuple(words.get(part, part) for part in plan.parts)
        parameters = plan.parameters + (weight.parameters(normalized[plan.name]) if plan.name in normalized else 0)
        norm_parameters, statistics, values = 0, "", 0
        if (site := plan.site("activation")) is not None:
            norm_parameters += find_activation(plan.activation or config.activation).parameters(site)
        if (site := plan.site("norm")) is not None:
            norm_parameters += norm.parameters(config.norm, site)
            kinds = norm.all_sizes(config.norm, site, config.micro_batch_size)
            values = min(math.prod(kind.values()) if kind else 0 for kind in kinds)
            statistics = "; ".join(_statistics(kind, config.batch_size * _values(site)) for kind in kinds)
        rows.append(Row(plan.name, parts, plan.outputs, parameters, norm_parameters, statistics, values))
    return rows


def _values(site: Site) -> int:
    """Values of a sample that a norm sees."""
    return site.repeats * site.steps * site.all_channels * site.positions


def _statistics(sizes: Mapping[str, int], total: int) -> str:
    """Axes of a norm's statistics, and how many of the `total` values each averages: "H,W: 8*8 = 64 values, 512 statistics"."""
    if not sizes:
        return "none"
    values = math.prod(sizes.values())
    product = f"{'*'.join(map(str, sizes.values()))} = " if len(sizes) > 1 else ""
    return f"{','.join(sizes)}: {product}{values:,} values, {total // values:,} statistics"


def weight_decay(config: Config) -> str:
    """The parameters with weight decay, in one line; empty without weight decay."""
    if config.optim.weight_decay == 0:
        return ""
    total = sum(row.parameters + row.norm_parameters for row in describe(config))
    if config.optim.decay_norm:
        return f"weight decay {show(config.optim.weight_decay)} of all {total:,} parameters"
    weights = sum(plan.weights for plan in layers(config))
    return (
        f"weight decay {show(config.optim.weight_decay)} of {weights:,} of {total:,} parameters: the weights of linear layers "
        "and convolutions (optim.decay_norm=false)"
    )


def norm_details(config: NormConfig) -> Iterator[str]:
    """Properties of a norm beyond the axes of its statistics, as `describe` names them."""
    keys = vars(config)
    if keys.get("ghost_batch") is not None:
        yield f"ghost batches of {keys['ghost_batch']}"
    if keys.get("freeze_at") is not None:
        yield f"frozen from step {keys['freeze_at']}"
    if config.name == "iternorm":
        yield f"in groups of {keys['group_size']} channels"


def _norm_warnings(config: Config, asked: Mapping[str, Any]) -> Iterator[str]:
    """Warnings about keys that a norm ignores, and activations that a paper does not use with it."""
    norm = NORMS[config.norm.name]
    if getattr(config.norm, "group_size", None) is not None and "groups" in asked.get("norm", {}):
        yield f"norm.groups={show(asked['norm']['groups'])} has no effect with norm.group_size={config.norm.group_size}."  # type: ignore[attr-defined]
    if norm.name in ("dyt", "derf") and "eps" in asked.get("norm", {}):
        yield f"norm.eps has no effect with norm={norm.name}, which divides by nothing."
    if getattr(config.norm, "beta", False) and not config.norm.affine:
        yield "norm.beta=true has no effect with norm.affine=false."
    if config.norm.gamma != 1 and not config.norm.affine:
        yield f"norm.gamma={show(config.norm.gamma)} has no effect with norm.affine=false."
    plans = layers(config)
    if (
        "activation" in asked
        and norm.activates
        and any(site and site.activated for site in (p.site("norm") for p in plans))
    ):
        where = "in layers with" if any("activation" in plan.parts for plan in plans) else "with"
        yield (
            f"activation={config.activation} has no effect {where} norm={norm.name}, which is norm and activation in one."
        )
    if norm.name == "frn" and any((site := plan.site("norm")) and site.positions == 1 for plan in plans):
        yield "Filter response norm leaves little more than the sign of each value after a linear layer. Use norm=ln there."
    elif norm.name == "frn" and config.activation != "tlu":
        yield "Filter response norm does not center its output: its paper uses it with activation=tlu, which learns a threshold."


def _recurrent_warnings(config: Config, asked: Mapping[str, Any]) -> Iterator[str]:
    """Warnings about keys of recurrent layers."""
    if "activation" in asked and getattr(config.model, "cell", "rnn") != "rnn":
        yield f"activation={config.activation} has no effect with model.cell={config.model.cell}."  # type: ignore[attr-defined]
    if config.norm.name == "none" and "norm_at" in asked.get("model", {}):
        yield f"model.norm_at={asked['model']['norm_at']} has no effect with norm=none."
    if getattr(config.norm, "last_step", None) is not None and not getattr(config.norm, "per_step", False):
        yield "norm.last_step has no effect without norm.per_step=true."


def _pools_norms(config: Config, plans: Sequence[LayerPlan]) -> bool:
    """Whether the input of the head is the output of a norm after a convolution, or a sum of such outputs."""

    def ends_in_norm(parts: Sequence[str]) -> bool:
        after = parts[parts.index("norm") :] if "norm" in parts else ["weight"]
        return "weight" not in after and ("activation" not in after or config.activation == "identity")

    hidden = plans[:-1]
    if not hidden or not MODELS[config.model.name].averages or getattr(config.model, "pool", "mean") != "mean":
        return False
    last = hidden[-1].parts
    is_sum = "weight" not in last and "norm" not in last and config.activation == "identity"
    return ends_in_norm(last) or (is_sum and all(ends_in_norm(p.parts) for p in hidden if "weight" in p.parts))


COLUMNS = ("layer", "parts", "output", "parameters", "statistics over")


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row, under COLUMNS."""
    count = f"{row.parameters:,}" + (f" + {row.norm_parameters:,}" if row.norm_parameters else "")
    shape = row.output[::-1] if len(row.output) == 2 else row.output  # tokens as usual, T x D
    return row.name, ", ".join(row.parts), "x".join(map(str, shape)), count, row.statistics


def markdown(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [COLUMNS, ("---", "---", "---", "---:", "---"), *(cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def warnings(config: Config, asked: Mapping[str, Any]) -> list[str]:
    """Warnings about noisy statistics, and about keys without effect. asked: the config's difference from the defaults."""
    messages = []
    noisy = [row for row in describe(config) if 0 < row.values < FEW_VALUES]
    if noisy:
        fewest = min(noisy, key=lambda row: row.values)
        affected = "1 layer" if len(noisy) == 1 else f"{len(noisy)} layers"
        messages.append(
            f"The statistics of {affected} are noisy: fewer than {FEW_VALUES} values per mean and variance "
            f"({fewest.name}: {fewest.values})."
        )
    if config.norm.name == "in" and _pools_norms(config, layers(config)):
        works = "another activation" if config.activation == "identity" else "norm.position=pre"
        works = "model.pool=cls" if MODELS[config.model.name].attention else works
        messages.append(
            "This network can't tell images apart: instance norm gives every channel of every image the same mean, and global "
            f"average pooling keeps only the mean. Use {works}."
        )
    if config.norm.name == "none":
        # Its position may still determine that of noise or dropout.
        position_matters = config.noise > 0 or (config.dropout > 0 and config.dropout_at == "norm")
        keys = [key for key in asked.get("norm", {}) if key != "name" and not (key == "position" and position_matters)]
        messages += [f"norm.{key}={show(asked['norm'][key])} has no effect with norm=none." for key in keys]
    messages += _norm_warnings(config, asked)
    messages += _recurrent_warnings(config, asked)
    freeze_at = getattr(config.norm, "freeze_at", None)
    if freeze_at is not None and freeze_at > (steps := sizes(config).total_steps):
        messages.append(f"norm.freeze_at={freeze_at} has no effect: the run has {steps:,} steps.")
    if config.norm.name in ("dyt", "derf") and config.init.name == "default":
        messages.append(
            f"With init=default, {NORMS[config.norm.name].title} shrinks its inputs in each layer: deeper networks start slowly "
            "or not at all. Use init=kaiming, or a larger norm.alpha."
        )
    if (config.norm.name, config.weight.name) == ("none", "ws"):
        messages.append(
            "Without a norm, outputs grow with depth: weight=ws gives filters a norm of sqrt(fan_in). Use norm=gn, or weight=sws."
        )
    if config.optim.weight_decay == 0 and not config.optim.decay_norm:
        messages.append("optim.decay_norm=false has no effect with optim.weight_decay=0.")
    if config.dropout == 0:
        keys = [key for key in ("dropout_layers", "dropout_at", "dropout_scaled") if key in asked]
        messages += [f"{key}={show(asked[key])} has no effect with dropout=0." for key in keys]
    model = asked.get("model", {})
    if getattr(config.model, "head", None) == "gap" and "fc_width" in model:
        messages.append(f"model.fc_width={model['fc_width']} has no effect with model.head=gap.")
    return messages
