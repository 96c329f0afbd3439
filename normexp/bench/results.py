"""What was measured, as ratios to the network without a norm, and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from normexp.bench.cases import REFERENCE, Skipped

PHASES = ("forward", "backward", "inference", "folded")


@dataclass
class Costs:
    """Of one network: seconds a step in each round, by phase, and what is the same in every round.

    folded: inference with the batch norms folded, in none of the rounds where there are none to fold. norms_folded: how many.
    saved_bytes: kept from the forward pass for the backward pass. peak_bytes: the most in a step; on a GPU alone.
    """

    parameters: int
    saved_bytes: int
    peak_bytes: int | None = None
    norms_folded: int = 0
    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    inference: list[float] = field(default_factory=list)
    folded: list[float] = field(default_factory=list)

    def seconds(self, phase: str) -> list[float]:
        times = getattr(self, phase)
        assert isinstance(times, list)
        return times


@dataclass(frozen=True)
class Measured:
    """All norms of a model at a batch size. steps_a_block: of training, and of inference."""

    model: str
    data: str
    batch_size: int
    device: str
    threads: int
    steps_a_block: tuple[int, int]
    costs: dict[str, Costs]

    def ratio(self, norm: str, phase: str) -> Spread | None:
        """Of a norm's time to that of `none` in the same round; `folded` to the inference of `none`. None where nothing was
        measured."""
        return ratio(
            self.costs[norm].seconds(phase),
            self.costs[REFERENCE].seconds("inference" if phase == "folded" else phase),
        )

    def memory(self, norm: str) -> float | None:
        """Ratio of the bytes kept for the backward pass; None where `none` keeps none."""
        reference = self.costs[REFERENCE].saved_bytes
        return self.costs[norm].saved_bytes / reference if reference else None


@dataclass(frozen=True)
class Spread:
    """A median between the quartiles."""

    low: float
    median: float
    high: float

    @property
    def half(self) -> float:
        """Half the distance between the quartiles."""
        return (self.high - self.low) / 2


def spread(values: Sequence[float]) -> Spread:
    """Of two values or more."""
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio(times: Sequence[float], reference: Sequence[float]) -> Spread | None:
    """Median and quartiles of the ratios, each of a pair that was measured in the same round."""
    if not times:
        return None
    return spread([ours / theirs for ours, theirs in zip(times, reference, strict=True)])


def together(skipped: Sequence[Skipped]) -> Iterator[tuple[str, str]]:
    """('resnet gn, batch 8 and 32', reason): those of a model and norm that have the same reason, as one."""
    for (model, norm, reason), each in groupby(
        sorted(skipped, key=lambda each: (each.model, each.norm, each.reason, each.batch_size)),
        key=lambda each: (each.model, each.norm, each.reason),
    ):
        yield f"{model}, {norm}, batch {', '.join(str(one.batch_size) for one in each)}", reason


def to_json(
    measured: Sequence[Measured],
    skipped: Sequence[Skipped],
    *,
    overrides: Sequence[str],
    repeats: int,
    block: float,
    environment: Mapping[str, Any],
) -> str:
    """Everything, with times in milliseconds: of each norm, phase and batch size, the ratio's median and quartiles too."""
    content = {
        "overrides": list(overrides),
        "repeats": repeats,
        "block_ms": 1e3 * block,
        "environment": dict(environment),
        "measured": [_entry(each, norm) for each in measured for norm in each.costs],
        "skipped": [vars(each) for each in skipped],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _entry(of: Measured, norm: str) -> dict[str, Any]:
    costs, reference = of.costs[norm], of.costs[REFERENCE]
    phases = {}
    for phase in PHASES:
        ratios = of.ratio(norm, phase)
        if ratios is not None:
            times = spread([1e3 * second for second in costs.seconds(phase)])
            phases[phase] = {
                "ms": times.median,
                "ms_quartiles": [times.low, times.high],
                "ratio": ratios.median,
                "ratio_quartiles": [ratios.low, ratios.high],
            }
    return {
        "model": of.model,
        "data": of.data,
        "batch_size": of.batch_size,
        "norm": norm,
        "device": of.device,
        "threads": of.threads,
        "steps_a_block": dict(zip(("training", "inference"), of.steps_a_block, strict=True)),
        "phases": phases,
        "saved_bytes": costs.saved_bytes,
        "saved_ratio": of.memory(norm),
        "peak_bytes": costs.peak_bytes,
        "parameters": costs.parameters,
        "parameters_added": costs.parameters - reference.parameters,
        "norms_folded": costs.norms_folded,
    }
