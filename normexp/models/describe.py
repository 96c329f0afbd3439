"""Table of a config's network, without torch: parts and shape of each layer, and the axes of its norm."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from normexp.config import Config, show
from normexp.models import layers
from normexp.norms import NORMS

FEW_VALUES = 16  # fewer make noisy statistics: the relative error of a variance is about sqrt(2/n), here a third


@dataclass(frozen=True)
class Row:
    """A layer. statistics: description of the norm's axes, empty without a norm. values: number of values per mean."""

    name: str
    parts: tuple[str, ...]
    output: tuple[int, ...]
    parameters: int
    norm_parameters: int
    statistics: str
    values: int


def describe(config: Config) -> list[Row]:
    """One row per layer, in the order in which they compute."""
    norm, rows = NORMS[config.norm.name], []
    for plan in layers(config):
        words = {"weight": "conv" if plan.kernel else "linear", "norm": norm.name, "activation": config.activation}
        parts = tuple(words.get(part, part) for part in plan.parts)
        norm_parameters, statistics, values = 0, "", 0
        if (site := plan.norm_site) is not None:
            norm_parameters = 2 * site.channels * config.norm.affine
            sizes = norm.sizes(config.norm, site, config.batch_size)
            values = math.prod(sizes.values())
            product = f"{'*'.join(map(str, sizes.values()))} = " if len(sizes) > 1 else ""
            count = config.batch_size * math.prod(site.shape) // values
            statistics = f"{','.join(sizes)}: {product}{values:,} values, {count:,} statistics"
        rows.append(Row(plan.name, parts, plan.outputs, plan.parameters, norm_parameters, statistics, values))
    return rows


COLUMNS = ("layer", "parts", "output", "parameters", "mean and variance over")


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row, under COLUMNS."""
    count = f"{row.parameters:,}" + (f" + {row.norm_parameters:,}" if row.norm_parameters else "")
    return row.name, ", ".join(row.parts), "x".join(map(str, row.output)), count, row.statistics


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
    before_head = [part for plan in layers(config)[-2:-1] for part in plan.parts]
    norm = NORMS[config.norm.name]
    if norm.axes[0] == "H,W" and config.norm.position == "post" and "norm" in before_head:
        messages.append(
            f"This network can't tell images apart: the last {norm.title} gives every channel of every image the same mean, and "
            "global average pooling keeps only the mean. Use norm.position=pre."
        )
    if config.norm.name == "none":
        # Its position may still determine that of noise or dropout.
        position_matters = config.noise > 0 or (config.dropout > 0 and config.dropout_at == "norm")
        keys = [key for key in asked.get("norm", {}) if key != "name" and not (key == "position" and position_matters)]
        messages += [f"norm.{key}={show(asked['norm'][key])} has no effect with norm=none." for key in keys]
    if config.dropout == 0:
        keys = [key for key in ("dropout_layers", "dropout_at", "dropout_scaled") if key in asked]
        messages += [f"{key}={show(asked[key])} has no effect with dropout=0." for key in keys]
    model = asked.get("model", {})
    if getattr(config.model, "head", None) == "gap" and "fc_width" in model:
        messages.append(f"model.fc_width={model['fc_width']} has no effect with model.head=gap.")
    return messages
