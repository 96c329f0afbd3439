"""The published results, from a folder of verdict files: python scripts/claims_table.py runs/claims [--write]

Prints Markdown; --write puts it into docs/claim-results.md, the page with all cards into docs/claim-cards.html, and a short
table into README.md. Quick runs are left out.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from normexp.claims import overview
from normexp.claims import page as cards
from normexp.claims.facts import facts, scale_label
from normexp.claims.headline import brief, outdated
from normexp.claims.load import claim_names, read_claim
from normexp.claims.schema import SEPARATOR
from normexp.claims.stored import current
from normexp.claims.verdict import OUTCOMES, Verdict, read
from normexp.claims.wording import plural
from normexp.config import ConfigError

ROOT = Path(__file__).parents[1]

PAGE, CARDS, README = ROOT / "docs" / "claim-results.md", ROOT / "docs" / "claim-cards.html", ROOT / "README.md"

HEADS = ("claim", "verdict", "what holds", "cells", "grade", "seeds", "scale")

START, END = "<!-- verdicts, from scripts/claims_table.py -->\n", "<!-- end of verdicts -->\n"

TELLING = (
    "higher-lr",
    "any-init",
    "sigmoid-depth",
    "small-batch",
    "norm-batch",
    "no-eval",
    "ics-mechanism",
    "smoother",
    "transformer-norm",
    "dyt-replaces",
)
"""The claims in README's table, in its order."""


def load(folder: Path) -> list[Verdict]:
    """The verdicts in a folder, except those of quick runs. Those of another rule or code are marked as outdated."""
    verdicts = [verdict for path in sorted(folder.glob("*.json")) if (verdict := read(path)) and not verdict.quick]
    verdicts.sort(key=lambda verdict: verdict.kind == "exact")
    return list(map(_current, verdicts))


def _current(verdict: Verdict) -> Verdict:
    try:
        claim = read_claim(verdict.claim.partition(SEPARATOR)[0], scale="full" if verdict.scale == "full" else "small")
        return current(verdict, claim)
    except ConfigError:  # there is no such claim any more, or it can't be on that data
        return outdated(verdict)


def page(verdicts: Sequence[Verdict]) -> str:
    """The whole page: date, versions, counts, a table per group, and what is not judged yet."""
    days = sorted(verdict.judged_at[:10] for verdict in verdicts)
    counts = Counter(verdict.outcome for verdict in verdicts)
    by_outcome = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    versions = dict.fromkeys(facts(verdict).get("versions", "unknown") for verdict in verdicts)
    lines = [
        "# Results of the claims",
        "",
        f"{plural(len(verdicts), 'verdict')}: {by_outcome}. {overview.expected_errors(verdicts)}".rstrip(),
        "How a verdict is reached, and what the grades mean: [claims](claims.md).",
        "",
        f"Judged {' to '.join(dict.fromkeys([days[0], days[-1]]))} with {'; '.join(versions)}. "
        f"{_effort([verdict for verdict in verdicts if verdict.runs])}",
        "The [cards](claim-cards.html), a page for the browser, show each claim with its background, figure, setup and numbers.",
        f"Cells: {overview.legend(verdicts).replace('  ', ', ')}.",
    ]
    for group in overview.GROUPS:
        if own := [verdict for verdict in verdicts if verdict.group == group]:
            lines += ["", f"## {group.capitalize()}", "", _row(HEADS), _row(["---"] * len(HEADS)), *map(row, own)]
    if missing := unjudged(verdicts):
        lines += ["", f"Not judged yet: {', '.join(f'`{name}`' for name in missing)}."]
    lines += ["", "Made by `python scripts/claims_table.py runs/claims --write` from verdict files."]
    return "\n".join(lines) + "\n"


def row(verdict: Verdict) -> str:
    """The row of one claim."""
    numbers = overview.grade_label(verdict), overview.seeds_label(verdict), scale_label(verdict)
    parts = _outcome(verdict), brief(verdict), overview.strip(verdict), *numbers
    return _row([f"`{verdict.claim}`: {verdict.statement}", *parts])


def _outcome(verdict: Verdict) -> str:
    flags = [flag for flag in overview.flags(verdict) if flag in ("exploratory", "outdated")]
    return ", ".join([f"**{verdict.outcome}**", *flags])


def _effort(trained: Sequence[Verdict]) -> str:
    """The seeds that were judged, and what the training took, at most."""
    by_first = dict[int, list[Verdict]]()
    for verdict in trained:
        if verdict.seeds:
            by_first.setdefault(verdict.seeds[0], []).append(verdict)
    ranges = list[str]()
    for of in sorted(by_first.values(), key=len, reverse=True):
        last = max(of, key=lambda verdict: len(verdict.seeds)).seeds
        names = f" ({', '.join(verdict.claim for verdict in of)})" * bool(ranges)
        ranges.append(f"{last[0]} to {last[-1]}{names}")
    seeds = f"Judged with seeds {', '.join(ranges)}; the three after the last seed of a claim's file choose learning rates. "
    hours = sum(verdict.seconds or 0 for verdict in trained) / 3600
    took = f"Training took {hours:.1f} hours of one core, counting runs that several claims share for each of them."
    return seeds * bool(ranges) + took * bool(trained)


def unjudged(verdicts: Sequence[Verdict]) -> list[str]:
    """The names of the claims that have no verdict."""
    return sorted(set(claim_names()) - {verdict.claim for verdict in verdicts})


def short_table(verdicts: Sequence[Verdict]) -> str:
    """Statement, verdict, headline and scale of the claims in TELLING, as far as they are judged."""
    named = {verdict.claim: verdict for verdict in verdicts if not verdict.data}
    rows = [_row([v.statement, _outcome(v), brief(v), scale_label(v)]) for name in TELLING if (v := named.get(name))]
    return "\n".join([_row(["claim", "verdict", "what holds", "scale"]), _row(["---"] * 4), *rows]) + "\n"


def _row(parts: Sequence[str]) -> str:
    return f"| {' | '.join(part.replace('|', '/') for part in parts)} |"


def write(verdicts: Sequence[Verdict]) -> None:
    """Write the page, the cards without links to the runs, and README's table, which replaces the one before."""
    PAGE.write_text(page(verdicts), encoding="utf-8")
    cards.write(CARDS, [replace(verdict, folder=None) for verdict in verdicts], unjudged(verdicts))
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    README.write_text(f"{before}{START}{short_table(verdicts)}{END}{rest.partition(END)[2]}", encoding="utf-8")


def main() -> None:
    """Print the page or write it; one sentence and exit code 2 without verdicts."""
    words = [word for word in sys.argv[1:] if word != "--write"]
    if len(words) != 1:
        print("usage: python scripts/claims_table.py FOLDER [--write]", file=sys.stderr)
        sys.exit(2)
    verdicts = load(Path(words[0]))
    if not verdicts:
        print(f"No verdicts in {words[0]}; make them with normexp claims run.", file=sys.stderr)
        sys.exit(2)
    if "--write" in sys.argv[1:]:
        write(verdicts)
    else:
        print(page(verdicts), end="")


if __name__ == "__main__":
    main()
