"""The description of a run that TensorBoard shows next to its measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from normexp import rundir
from normexp.compose.choices import hyperparameters
from normexp.config import Config
from normexp.models.describe import describe, markdown
from normexp.records import GRAD_NORM, Chart, RunInfo
from normexp.training.build import Parts

HPARAM_METRICS = [
    "test/accuracy",
    "test/loss",
    "convergence/best_accuracy",
    "convergence/area_under_curve",
    "train/loss",
]
"""Columns of TensorBoard's HPARAMS page."""


def run_info(parts: Parts, config: Config, diff: Mapping[str, Any] | None = None) -> RunInfo:
    """diff: the keys and values in which the config differs from the defaults."""
    texts = {
        "layers": markdown(describe(config)),
        "config": _yaml_block(dataclasses.asdict(config)),
        "config that differs from the defaults": _yaml_block(diff) if diff else "nothing",
    }
    charts = [
        Chart("Whole network", "loss", lines=["train/loss", "val/loss$"]),
        Chart("Whole network", "accuracy", lines=["train/accuracy", "val/accuracy$", "val/accuracy_batch_statistics"]),
        Chart("Whole network", "gradient of all parameters of a layer", lines=[f"{GRAD_NORM}/.*"]),
        *parts.probes.charts(),
    ]
    return RunInfo(hyperparameters(config), HPARAM_METRICS, texts, charts)


def _yaml_block(tree: Mapping[str, Any]) -> str:
    return f"```yaml\n{rundir.to_yaml(tree)}```"
