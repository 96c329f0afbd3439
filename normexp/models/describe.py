"""A config's network as a table, without torch: what each layer computes, and what its norm averages over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from normexp.config import Config, show
from normexp.models import LayerPlan, layers
from normexp.norms import NORMS

FEW = 16
"""Values below which a mean and a variance are rough: the relative error of a variance of n values is about sqrt(2/n), a
third at 16."""


@dataclass(frozen=True)
class Row:
    """One layer. statistics: how the norm's are taken, in words; empty without a norm. values: that share one mean."""

    name: str
    parts: tuple[str, ...]
    output: tuple[int, ...]
    parameters: int
    norm_parameters: int
    statistics: str
    values: int


def describe(config: Config) -> list[Row]:
    """A row for each layer, in the order in which they compute."""
    return [_row(plan, config) for plan in layers(config)]


COLUMNS = ("layer", "parts", "output", "parameters", "one mean and variance over")


def cells(row: Row) -> tuple[str, ...]:
    """A row as it is shown, below COLUMNS."""
    count = f"{row.parameters:,}" + (f" + {row.norm_parameters:,}" if row.norm_parameters else "")
    return row.name, ", ".join(row.parts), "x".join(map(str, row.output)), count, row.statistics


def markdown(rows: list[Row]) -> str:
    """The table in Markdown."""
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
    """The size of each axis: of 'B,H,W' at batch 64 on 8x8 images [64, 8, 8]."""
    known = {"B": config.batch_size, **dict(zip(("C", "H", "W"), shape, strict=False)), "F": shape[0]}
    groups = getattr(config.norm, "groups", 1)
    return [known[axis[0]] // groups if "/" in axis else known[axis] for axis in axes.split(",")]


def warnings(config: Config, asked: Mapping[str, Any]) -> list[str]:
    """Where statistics are weak, and which of the asked-for keys (a difference to the defaults) have no effect here."""
    found = []
    weak = [row for row in describe(config) if 0 < row.values < FEW]
    if weak:
        fewest = min(weak, key=lambda row: row.values)
        found.append(
            f"In {len(weak)} of the layers a mean and a variance come from fewer than {FEW} values "
            f"({fewest.name}: {fewest.values}), which makes them noisy."
        )
    before_head = [part for plan in layers(config)[-2:-1] for part in plan.parts]
    if config.norm.name == "in" and config.norm.position == "post" and "norm" in before_head:
        found.append(
            "The last instance norm gives every channel of every image the same mean, and global average pooling hands "
            "on nothing but that mean: the network can't tell images apart (norm.position=pre can)."
        )
    if config.norm.name == "none":
        # Where the norm would be, there may still be noise, or dropout in front of it.
        placed = config.noise > 0 or (config.dropout > 0 and config.dropout_at == "norm")
        keys = [key for key in asked.get("norm", {}) if key != "name" and not (key == "position" and placed)]
        found += [f"norm.{key}={show(asked['norm'][key])} has no effect: there is no norm." for key in keys]
    if config.dropout == 0:
        keys = [key for key in ("dropout_layers", "dropout_at", "dropout_scaled") if key in asked]
        found += [f"{key}={show(asked[key])} has no effect with dropout=0." for key in keys]
    model = asked.get("model", {})
    if getattr(config.model, "head", None) == "gap" and "fc_width" in model:
        found.append(f"model.fc_width={model['fc_width']} has no effect with model.head=gap.")
    return found
