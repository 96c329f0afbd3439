"""Measured costs: ratios to the network without a norm, and JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from normexp.bench.cases import REFERENCE, Skipped

PHASES = ("forward", "backward", "inference", "folded")
MIN_BLOCK_SECONDS = 0.01  # minimum duration of a timed block, a hundred times the overhead of timing it


@dataclass
class Costs:
    """The costs of one network.

    saved_bytes: saved by the forward pass for the backward pass. peak_bytes: peak memory of a training step, on a GPU only.
    folded_norms: number of batch norms that can be folded. seconds: per step, by phase, one value per round. The phase `folded`
    is inference with folded batch norms, empty if none can be folded.
    """

    parameters: int
    saved_bytes: int
    peak_bytes: int | None = None
    folded_norms: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})


@dataclass(frozen=True)
class CaseResult:
    """The costs of all norms of a model at a batch size. block_steps: steps per timed block of training and of inference. shape:
    of a sample."""

    model: str
    data: str
    batch_size: int
    device: str
    threads: int
    block_steps: tuple[int, int]
    costs: dict[str, Costs]
    shape: tuple[int, ...] = ()

    def ratio(self, norm: str, phase: str) -> Quartiles | None:
        """Time of the norm over that of `none` in the same round; `folded` is compared with inference of `none`. Returns None if
        it was not measured."""
        if norm not in self.costs:
            return None
        times = self.costs[norm].seconds[phase]
        reference = self.costs[REFERENCE].seconds["inference" if phase == "folded" else phase]
        return quartiles([a / b for a, b in zip(times, reference, strict=True)]) if times else None

    def memory(self, norm: str) -> float | None:
        """Ratio of the bytes saved for the backward pass. Returns None if it was not measured or `none` saves nothing."""
        reference = self.costs[REFERENCE].saved_bytes
        return self.costs[norm].saved_bytes / reference if norm in self.costs and reference else None


@dataclass(frozen=True)
class Quartiles:
    low: float
    median: float
    high: float

    @property
    def half_range(self) -> float:
        """Half the interquartile range."""
        return (self.high - self.low) / 2


def quartiles(values: Sequence[float]) -> Quartiles:
    """Linearly interpolated quartiles of at least two values."""
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def to_json(results: Sequence[CaseResult], skipped: Sequence[Skipped], about: Mapping[str, Any]) -> str:
    """All results as JSON: times in milliseconds, and ratios, with quartiles. about: further content, placed first."""
    measured = [_entry(result, norm) for result in results for norm in result.costs]
    content = {**about, "measured": measured, "skipped": [vars(skip) for skip in skipped]}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _entry(result: CaseResult, norm: str) -> dict[str, Any]:
    costs = result.costs[norm]
    phases = {}
    for phase in PHASES:
        if ratios := result.ratio(norm, phase):
            times = quartiles([1e3 * seconds for seconds in costs.seconds[phase]])
            phases[phase] = {
                "ms": times.median,
                "ms_quartiles": [times.low, times.high],
                "ratio": ratios.median,
                "ratio_quartiles": [ratios.low, ratios.high],
            }
    return {
        "model": result.model,
        "data": result.data,
        "batch_size": result.batch_size,
        "norm": norm,
        "device": result.device,
        "threads": result.threads,
        "steps_a_block": dict(zip(("training", "inference"), result.block_steps, strict=True)),
        "phases": phases,
        "saved_bytes": costs.saved_bytes,
        "saved_ratio": result.memory(norm),
        "peak_bytes": costs.peak_bytes,
        "parameters": costs.parameters,
        "parameters_added": costs.parameters - result.costs[REFERENCE].parameters,
        "norms_folded": costs.folded_norms,
    }
