"""Build verdicts from judgements; compute exact claims."""

import platform
import shlex
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.claims.effects import Bounds
from normexp.claims.fingerprint import judging_fingerprint
from normexp.claims.grade import grade
from normexp.claims.headline import explain
from normexp.claims.judge import Judgement, judge
from normexp.claims.schema import SEPARATOR, Claim, Measure, Point
from normexp.claims.verdict import Lines, Verdict
from normexp.config import ConfigError, join_names, suggest
from normexp.rundir.environment import processor


def judge_exact(claim: Claim, code: str, config_dir: Path | None) -> Verdict:
    """Compute and judge an exact claim. code: fingerprint of the code."""
    from normexp.claims.exact import EXACT

    if claim.name not in EXACT:
        raise ConfigError(
            f"kind: exact claims are computed by normexp itself, which has no {claim.name}; use kind: experiment."
        )
    start = time.monotonic()
    results = {seed: EXACT[claim.name].compute(seed) for seed in claim.seeds}
    seconds = time.monotonic() - start

    def measured(measure: Measure, arm: str, point: Point, seed: int) -> Bounds:
        numbers = results[seed].numbers
        if measure.tag not in numbers:
            raise ConfigError(
                f"measure={measure.tag}: {claim.name} computes {join_names(numbers)}.{suggest(measure.tag, numbers)}"
            )
        return (float(numbers[measure.tag]),) * 2

    first, judgement = results[claim.seeds[0]], judge(claim, measured)
    own: dict[str, Any] = {"tables": first.tables, "drawing": Lines(first.drawing) if first.drawing else None}
    return build_verdict(claim, judgement, code=code, seconds=seconds, config_dir=config_dir, **own)


def build_verdict(
    claim: Claim,
    judgement: Judgement,
    *,
    code: str,
    seconds: float,
    config_dir: Path | None,
    exploratory: bool = False,
    unverified: bool = False,
    **own: Any,
) -> Verdict:
    """Combine a claim and its judgement. seconds: of training or computing. own: further fields of this kind of claim."""
    same = ("kind", "group", "statement", "source", "scale", "quick", "combine")
    letter, lacks = grade(claim, judgement, exploratory=exploratory, unverified=unverified)
    packages = {name: version(name) for name in ("normexp", "torch", "numpy", "scipy")}
    flags = ["--quick"] * claim.quick + ["--scale", "full"] * (claim.scale == "full")
    flags += ["--data", claim.data] if claim.data else []
    flags += ["--config-dir", str(config_dir)] if config_dir else []
    verdict = Verdict(
        **{name: getattr(claim, name) for name in same},
        **own,
        claim=claim.name,
        seeds=claim.seeds[: judgement.seeds],
        grade=letter,
        lacks=lacks,
        exploratory=exploratory,
        background=Lines(claim.background),
        explanation=Lines(claim.explanation),
        would_change=Lines(claim.would_change),
        data=Lines(claim.data),
        outcome=judgement.outcome,
        conditions=judgement.conditions,
        seconds=seconds,
        command=shlex.join(["normexp", "claims", "run", claim.name.partition(SEPARATOR)[0], *flags]),
        judged_at=rundir.now(),
        versions=packages
        | {"python": platform.python_version(), "machine": platform.machine(), "processor": processor()},
        rule=claim.fingerprint,
        code=code,
        judging=judging_fingerprint(),
    )
    return replace(verdict, because=explain(verdict))
