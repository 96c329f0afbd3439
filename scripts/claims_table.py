"""Print a Markdown table of the verdicts in a folder: python scripts/claims_table.py runs/claims

Experiments come first, then exact claims.
"""

from __future__ import annotations

import sys
from pathlib import Path

from normexp.claims.load import claim_names, read_claim
from normexp.claims.verdict import Verdict, path_of, read
from normexp.claims.wording import cell_label, format_effect, format_rule, headline, headline_label, unit

HEADER = "| claim | what is said | verdict | effect [interval]; the rule | seeds |\n| --- | --- | --- | --- | --- |"


def row(verdict: Verdict) -> str:
    """The row of one claim."""
    head = headline(verdict)
    assert head is not None
    condition, cell = head
    outcomes = [c.outcome for of, c in verdict.cells if of.decides]
    more = [cell_label(cell) or condition.what] if headline_label(verdict) else []
    more += [f"{outcomes.count('confirmed')} of {len(outcomes)} confirmed"] if len(outcomes) > 1 else []
    effect = "not defined" if cell.effect is None else format_effect(condition, cell)
    line = f"{effect}; {format_rule(condition)}{unit(condition)}" + (f" ({'; '.join(more)})" if more else "")
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
