"""Facts about a verdict, by term: what was trained, with which seeds, versions and code."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from normexp.claims.verdict import Verdict
from normexp.sweeps.progress import format_duration


def scale_label(verdict: Verdict) -> str:
    """'MNIST', 'CIFAR-10, full scale', 'digits, quick run'; empty for an exact claim."""
    if verdict.kind == "exact":
        return ""
    suffix = "quick run" if verdict.quick else "full scale" if verdict.scale == "full" else ""
    return ", ".join(filter(None, (verdict.setup.get("data", ""), suffix))) or "small scale"


def setup_rows(setup: Mapping[str, str]) -> dict[str, str]:
    """The setup of the runs, by term; their common base comes last."""
    rows = {term: value for term, value in setup.items() if term != "base"} | {"all runs": setup.get("base", "")}
    return {term: value for term, value in rows.items() if value}


def facts(verdict: Verdict) -> dict[str, str]:
    """Runs, seeds, scale, date, versions and hashes of a verdict, by term, as far as known."""
    utc, hashes = verdict.judged_at.endswith(("+00:00", "Z")), {"rule": verdict.rule, "code": verdict.code}
    seconds, trained = verdict.seconds, str(verdict.runs or "no training")
    duration = "" if seconds is None else f"{seconds:.2g} s" if seconds < 10 else format_duration(seconds)
    known = {
        "runs": f"{trained}, {duration}" if duration else trained,
        "seeds": seeds_text(verdict.seeds),
        "scale": scale_label(verdict),
        "judged": f"{verdict.judged_at[:16].replace('T', ' ')}{' UTC' if utc else ''}",
        "versions": ", ".join(f"{name} {v}" for name, v in verdict.versions.items()),
        "hashes": ", ".join(f"{name} {hashed}" for name, hashed in hashes.items() if hashed),
    }
    return {term: value for term, value in known.items() if value}


def rerun_command(verdict: Verdict) -> str:
    """The command that finds the verdict's runs again and judges them, from the folder in which they were trained."""
    words = [verdict.command]
    claims = Path(verdict.folder or "").parent  # in runs_dir, which is `runs` by default
    if claims.name == "claims" and claims.parent != Path("runs"):
        words.append(shlex.quote(f"runs_dir={claims.parent}"))
    words += ["data.verify=false"] * any("checksums" in lack for lack in verdict.lacks)
    return " ".join(words) if verdict.command else ""


def seeds_text(seeds: Sequence[int]) -> str:
    """'501 to 512', or all of them if they are not consecutive."""
    consecutive = len(seeds) > 2 and all(later == seed + 1 for seed, later in pairwise(seeds))
    return f"{seeds[0]} to {seeds[-1]}" if consecutive else ", ".join(map(str, seeds))
