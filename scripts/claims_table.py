"""Print a Markdown table of the verdicts in a folder: python scripts/claims_table.py runs/claims

Experiments come first, then exact claims.
"""

from __future__ import annotations

import sys
from pathlib import Path

from normexp.claims.headline import headline, headline_label, tally
from normexp.claims.load import claim_names, read_claim
from normexp.claims.verdict import Verdict, path_of, read
from normexp.claims.wording import format_effect, format_rule, unit

HEADER = "| claim | statement | verdict | effect [interval]; rule | seeds |\n| --- | --- | --- | --- | --- |"


def row(verdict: Verdict) -> str:
    """The row of one claim."""
    head = headline(verdict)
    assert head is not None
    condition, cell = head
    effect = "not defined" if cell.effect is None else format_effect(condition, cell)
    where = "; ".join(filter(None, (headline_label(verdict), tally(verdict))))
    line = f"{effect}; {format_rule(condition)}{unit(condition)}" + (f" ({where})" if where else "")
    parts = (f"`{verdict.claim}`", verdict.statement, verdict.outcome, line, str(len(verdict.seeds)))
    return f"| {' | '.join(part.replace('|', '/') for part in parts)} |"


def main() -> None:
    folder = Path(sys.argv[1])
    claims = [read_claim(name) for name in claim_names()]
    print(HEADER)
    for claim in sorted(claims, key=lambda claim: claim.kind == "exact"):
        verdict = read(path_of(folder, claim.name, scale="small", quick=False))
        print(row(verdict) if verdict else f"| `{claim.name}` | not judged | | | |")


if __name__ == "__main__":
    main()
