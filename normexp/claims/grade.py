"""Trust in a verdict: its grade, and the rules that its seeds were trained under before."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from normexp.claims.judge import Judgement
from normexp.claims.schema import LOOKS, Claim, Condition
from normexp.config import join_names, yaml_files
from normexp.rundir import atomic, safe_read

SEEN = "seeds-seen.jsonl"
"""Name of the file that records which seeds were seen under which rule: one in a claims folder, one shipped with the claims."""

MAX_BYTES = 2**24
"""Limit on the size of that file; a line has about 100 bytes."""


@dataclass(frozen=True)
class Seen:
    """Seeds of a claim that were trained under a rule.

    runs: hash of what was trained; empty in older records. others: rules of other claims with the same runs that existed then, so
    they are older than the seeds, too.
    """

    claim: str
    scale: str
    quick: bool
    rule: str
    seeds: tuple[int, ...]
    runs: str = ""
    others: tuple[str, ...] = ()


def is_exploratory(claim: Claim, seeds: Sequence[int], folder: Path) -> bool:
    """Whether some of these seeds were seen before this rule existed, which may have been fitted to them.

    They were if they had been trained for a claim of this name, or for one of any name with the same runs.
    """
    records, runs = [*_read(yaml_files.folder() / "claim" / SEEN), *_read(folder / SEEN)], runs_hash(claim)
    same = (
        seen
        for seen in records
        if (seen.scale, seen.quick) == (claim.scale, claim.quick) and (seen.claim == claim.name or seen.runs == runs)
    )
    before = itertools.takewhile(lambda seen: claim.rule_hash not in (seen.rule, *seen.others), same)
    return any(set(seen.seeds) & set(seeds) for seen in before)


def record_seeds(claim: Claim, seeds: Sequence[int], folder: Path, existing: Iterable[Claim] = ()) -> None:
    """Note that runs with these seeds are about to be trained or judged. existing: all claims that exist now."""
    path, known, runs = folder / SEEN, list(_read(folder / SEEN)), runs_hash(claim)
    others = sorted(
        {other.rule_hash for other in existing if other.sweep and runs_hash(other) == runs} - {claim.rule_hash}
    )
    new = Seen(claim.name, claim.scale, claim.quick, claim.rule_hash, tuple(seeds), runs, tuple(others))
    if not any(
        replace(seen, seeds=(), others=()) == replace(new, seeds=(), others=()) and set(seeds) <= set(seen.seeds)
        for seen in known
    ):
        atomic.write_text(path, "".join(json.dumps(vars(seen)) + "\n" for seen in [*known, new]))


def runs_hash(claim: Claim) -> str:
    """Hash of a claim's base, arms and the keys of its axes: the same if only names, seeds, values or the rule differ."""
    assert claim.sweep is not None
    base, arms, axes = claim.sweep.base, claim.sweep.arms.values(), claim.sweep.axes
    parts = sorted(base), sorted(sorted(overrides) for overrides in arms), sorted(axes)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _read(path: Path) -> Sequence[Seen]:
    """The records of a file, without lines that are damaged."""
    found = []
    with suppress(OSError):
        for line in safe_read.read(path, max_bytes=MAX_BYTES).decode(errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
                found.append(_parse(json.loads(line)))
    return found


def _parse(tree: dict[str, Any]) -> Seen:
    seeds = tuple(int(seed) for seed in tree["seeds"])
    runs, others = str(tree.get("runs", "")), tuple(map(str, tree.get("others", ())))
    return Seen(str(tree["claim"]), str(tree["scale"]), bool(tree["quick"]), str(tree["rule"]), seeds, runs, others)


def grade(claim: Claim, judgement: Judgement, *, exploratory: bool, unverified: bool = False) -> tuple[str, list[str]]:
    """'A' if nothing is lacking, 'B' for one thing, 'C' for more and for quick runs; and what is lacking.

    Empty for exact claims, and if nothing could be compared. unverified: the data's checksums were not.
    """
    if claim.kind == "exact" or judgement.outcome == "not comparable":
        return "", []
    deciding = [cell for condition in judgement.conditions if condition.decides for cell in condition.cells]
    ends = [f"{arm}: {end}" for cell in deciding for arm, end in cell.at_end.items()]
    lacks = {
        "the rule changed after its seeds were seen": exploratory,
        f"fewer than {LOOKS[0]} seeds": len(claim.seeds) < LOOKS[0],
        "the data was not checked against the published checksums": unverified,
        "the learning rate is not tuned": not all(_tunes_lr(c, claim) for c in claim.rule if c.decides),
        f"a best value is at the end of its range ({join_names(list(dict.fromkeys(ends)))})": bool(ends),
    }
    missing = [what for what, applies in lacks.items() if applies]
    return "C" if claim.quick or len(missing) > 1 else "B" if missing else "A", missing


def _tunes_lr(condition: Condition, claim: Claim) -> bool:
    """Whether the condition chooses the learning rate, covers several, or does without training."""
    assert claim.sweep is not None
    measures = [measure for measure in (condition.measure, condition.other) if measure]
    if all(measure.at == "first" or measure.tag == "parameters" for measure in measures):
        return True
    axes = claim.sweep.axes.items()
    return any(
        len(of) > 1 and override.startswith("lr=") for _, of in axes for all_ in of.values() for override in all_
    )
