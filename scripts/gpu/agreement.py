"""Checks that training and probes on a GPU agree with the CPU in float32."""

import dataclasses
import math
from collections.abc import Sequence
from itertools import product
from typing import Literal

from parts import SMALL_NETS, Part

from normexp.compose.compose import compose
from normexp.config import Config, ConfigError
from normexp.models import MODELS
from normexp.norms import NORMS
from normexp.records import Record
from normexp.training.build import build
from normexp.training.trainer import Trainer

Amp = Literal["bf16", "fp16"] | None

BOUNDS: dict[Amp, dict[str, float]] = {
    None: {"first loss": 1e-4, "first gradient": 1e-3, "last loss": 0.02},
    "bf16": {"first loss": 0.02, "first gradient": 0.1, "last loss": 0.1},
    "fp16": {"first loss": 0.01, "first gradient": 0.1, "last loss": 0.1},
}
"""Relative differences allowed, by the run's amp.

Sums are accumulated in a different order, and training amplifies small differences: the last of five losses has a wider bound.
"""

PROBE_BOUNDS = {"rel": 0.02, "abs": 5e-3}
"""For what probes report on the first step. A few sampled values may be on the other side of a threshold."""


def check_combinations(part: Part, *, compiles: bool) -> None:
    """Train every model with every norm and amp for five steps. Losses and gradients must be within BOUNDS of the CPU's."""
    norms = ("none", "gn") if part.quick else tuple(NORMS)
    amps: list[Amp] = [None, "bf16"] if part.quick or compiles else [*BOUNDS]
    pairs = list(product(norms, MODELS))
    if part.quick and compiles:  # a compilation takes seconds
        pairs, amps = [("gn", "mlp")], [None]
    for norm, model in pairs:
        overrides = [f"model={model}", f"norm={norm}", *SMALL_NETS.get(model, []), "steps=5", "lr=0.01", "log_every=1"]
        # A CUDA graph's next replay overwrites its gradients, which micro-batches add up.
        overrides += ["accumulate=2"] * (compiles and model != "resnet")
        try:
            config = compose([*overrides, "data.train_size=200", "probe=off", "eval_every=5", "device=cpu"])
        except ConfigError:  # the norm is not defined in this model
            continue
        expected: list[Record] = []
        for amp in amps:
            what = ", ".join(filter(None, [model, norm, amp or "float32", "compiled" if compiles else ""]))
            variant = dataclasses.replace(config, device=part.device, amp=amp, compile=compiles)
            part.attempt(what, _compare_losses, part, what, config, variant, expected)


def _compare_losses(part: Part, what: str, on_cpu: Config, variant: Config, expected: list[Record]) -> None:
    """expected: the CPU's records, which the first comparison fills."""
    expected[:] = expected or _records(on_cpu)
    actual, wanted = _landmarks(_records(variant)), _landmarks(expected)
    bounds = BOUNDS[variant.amp]
    shares = {name: abs(actual[name] - wanted[name]) / abs(wanted[name]) / bounds[name] for name in bounds}
    worst = max(shares, key=lambda name: shares[name])
    detail = f"{worst}: {actual[worst]:.6g}, on the CPU {wanted[worst]:.6g}, at most {bounds[worst]:g} apart"
    state = "ok" if shares[worst] <= 1 else "failed"
    part.record(what, state, detail, value=shares[worst], unit="of the bound")


def _landmarks(records: Sequence[Record]) -> dict[str, float]:
    losses = [value for record in records if (value := record.scalars.get("train/loss")) is not None]
    gradients = [value for record in records if (value := record.scalars.get("grad_norm/total")) is not None]
    return {"first loss": losses[0], "first gradient": gradients[0], "last loss": losses[-1]}


def _records(config: Config) -> list[Record]:
    """The records of a run without files."""
    parts, records = build(config), list[Record]()
    outcome = Trainer(parts, config, log=records.append).train()
    assert outcome.state == "completed", f"the run {outcome.state}: {outcome.error}"
    return records


def check_probes(part: Part) -> None:
    """Compare with the CPU what all probes report on the first step, and the tags of later steps."""
    cases = {"cnn, bn": ["norm=bn"], "cnn, gn, post, gelu": ["norm=gn", "norm.position=post", "activation=gelu"]}
    if not part.quick:
        cases |= {"mlp, ln, sigmoid": ["model=mlp", "norm=ln", "activation=sigmoid"], "cnn, in": ["norm=in"]}
        cases |= {"resnet, bn": ["model=resnet", "model.depth=8"]}
    for case, overrides in cases.items():
        part.attempt(case, _compare_probes, part, case, overrides)


def _compare_probes(part: Part, case: str, overrides: Sequence[str]) -> None:
    words = [*overrides, "probe=full", "probe.landscape=true", "probe.jumps=true", "probe.every=2", "steps=4"]
    words += ["probe.landscape_steps=[1]", "probe.samples=2048", "data.train_size=200", "log_every=2", "device=cpu"]
    config = compose(words)
    expected, actual = _records(config), _records(dataclasses.replace(config, device=part.device))
    assert [[*record.scalars] for record in actual] == [[*record.scalars] for record in expected], "other tags"
    first = {tag: (value, actual[0].scalars[tag]) for tag, value in expected[0].scalars.items()}
    shares = {tag: share_of_bound(*pair) for tag, pair in first.items()}
    worst = max(shares, key=lambda tag: shares[tag])
    detail = f"{len(shares)} numbers; {worst}: {first[worst][1]}, on the CPU {first[worst][0]}"
    part.record(case, "ok" if shares[worst] <= 1 else "failed", detail, value=shares[worst], unit="of the bound")


def share_of_bound(expected: float | None, actual: float | None) -> float:
    """The difference relative to PROBE_BOUNDS; infinite if only one of them is a number."""
    if expected is None or actual is None:
        return 0.0 if expected is actual else math.inf
    return abs(expected - actual) / (PROBE_BOUNDS["abs"] + PROBE_BOUNDS["rel"] * abs(expected))
