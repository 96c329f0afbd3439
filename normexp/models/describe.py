"""Table of a config's network, without torch: each layer's parts and shape, and what its norm averages over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from normexp.config import Config, show
from normexp.models import LayerPlan, layers
from normexp.norms import NORMS

FEW_VALUES = 16
"""Below this, statistics are noisy: the relative error of a variance of n values is about sqrt(2/n), a third for 16."""


@dataclass(frozen=True)
class Row:
    """A layer. statistics: description of the norm's axes, empty without a norm. values: number that share a mean."""

    name: str
    parts: tuple[str, ...]
    output: tuple[int, ...]
    parameters: int
    norm_parameters: int
    statistics: str
    values: int


def describe(config: Config) -> list[Row]:
    """One row per layer, in the order in which they compute."""
    return [_row(plan, config) for plan in layers(config)]


COLUMNS = ("layer", "parts", "output", "parameters", "one mean and variance over")


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row, under COLUMNS."""
    count = f"{row.parameters:,}" + (f" + {row.norm_parameters:,}" if row.norm_parameters else "")
    return row.name, ", ".join(row.parts), "x".join(map(str, row.output)), count, row.statistics


def markdown(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [COLUMNS, ("---", "---", "---", "---:", "---"), *(cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(plan: LayerPlan, config: Config) -> Row:
    norm, site = NORMS[config.norm.name], plan.norm_site
    words = {"weight": "conv" if plan.kernel else "linear", "norm": norm.name, "activation": config.activation}
    parts = tuple(words.get(part, part) for part in plan.parts)
    if site is None:
        return Row(plan.name, parts, plan.outputs, plan.parameters, 0, "", 0)
    values = norm.values(config.norm, site, config.batch_size)
    count = config.batch_size * math.prod(site.shape) // values
    axes = norm.axes[0 if len(site.shape) == 3 else 1]
    sizes = _sizes(axes, site.shape, config)
    product = f"{'*'.join(map(str, sizes))} = " if len(sizes) > 1 else ""
    statistics = f"{axes}: {product}{values:,} values, {count:,} statistics"
    return Row(
        plan.name, parts, plan.outputs, plan.parameters, 2 * site.channels * config.norm.affine, statistics, values
    )


def _sizes(axes: str, shape: tuple[int, ...], config: Config) -> list[int]:
    """Size of each axis: [64, 8, 8] for 'B,H,W' with batch 64 and 8x8 images."""
    known = {"B": config.batch_size, **dict(zip(("C", "H", "W"), shape, strict=False)), "F": shape[0]}
    groups = getattr(config.norm, "groups", 1)
    return [known[axis[0]] // groups if "/" in axis else known[axis] for axis in axes.split(",")]


def warnings(config: Config, asked: Mapping[str, Any]) -> list[str]:
    """Warnings about noisy statistics, and about keys without effect. asked: the config's difference from the defaults."""
    messages = []
    noisy = [row for row in describe(config) if 0 < row.values < FEW_VALUES]
    if noisy:
        fewest = min(noisy, key=lambda row: row.values)
        messages.append(
            f"In {len(noisy)} of the layers a mean and a variance come from fewer than {FEW_VALUES} values "
            f"({fewest.name}: {fewest.values}), which makes them noisy."
        )
    before_head = [part for plan in layers(config)[-2:-1] for part in plan.parts]
    norm = NORMS[config.norm.name]
    if norm.axes[0] == "H,W" and config.norm.position == "post" and "norm" in before_head:
        messages.append(
            f"The last {norm.title} gives every channel of every image the same mean, and global average pooling hands "
            "on nothing but that mean: the network can't tell images apart (norm.position=pre can)."
        )
    if config.norm.name == "none":
        # Its position may still determine that of noise or dropout.
        position_matters = config.noise > 0 or (config.dropout > 0 and config.dropout_at == "norm")
        keys = [key for key in asked.get("norm", {}) if key != "name" and not (key == "position" and position_matters)]
        messages += [f"norm.{key}={show(asked['norm'][key])} has no effect: there is no norm." for key in keys]
    if config.dropout == 0:
        keys = [key for key in ("dropout_layers", "dropout_at", "dropout_scaled") if key in asked]
        messages += [f"{key}={show(asked[key])} has no effect with dropout=0." for key in keys]
    model = asked.get("model", {})
    if getattr(config.model, "head", None) == "gap" and "fc_width" in model:
        messages.append(f"model.fc_width={model['fc_width']} has no effect with model.head=gap.")
    return messages
