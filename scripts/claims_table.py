"""A table of claims in Markdown, from the verdicts in a folder: python scripts/claims_table.py runs/claims

In Markdown on standard output: experiments first, then what is computed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normexp.claims import verdict
from normexp.claims.load import names, read
from normexp.claims.wording import amount, asked, cell_name, counted, headline, unit

HEAD = "| claim | what is said | verdict | effect [interval]; the rule | seeds |\n| --- | --- | --- | --- | --- |"


def row(found: Mapping[str, Any]) -> str:
    """One claim's."""
    decided = headline(found)
    assert decided is not None
    condition, cell = decided
    verdicts = [each["verdict"] for c in found["conditions"] if c["decides"] for each in c["cells"]]
    more = [cell_name(cell) or condition["what"]] if counted(found) else []
    more += [f"{verdicts.count('confirmed')} of {len(verdicts)} confirmed"] if len(verdicts) > 1 else []
    effect = "not defined" if cell["effect"] is None else amount(condition, cell)
    line = f"{effect}; {asked(condition)}{unit(condition)}" + (f" ({'; '.join(more)})" if more else "")
    parts = (f"`{found['claim']}`", found["statement"], found["verdict"], line, str(len(found["seeds"])))
    return f"| {' | '.join(part.replace('|', '/') for part in parts)} |"


def main() -> None:
    folder = Path(sys.argv[1])
    claims = [read(name) for name in names()]
    print(HEAD)
    for claim in sorted(claims, key=lambda claim: claim.kind == "exact"):
        found = verdict.read(verdict.path_of(folder, claim.name, scale="small", quick=False))
        print(row(found) if found else f"| `{claim.name}` | not judged | | | |")


if __name__ == "__main__":
    main()
