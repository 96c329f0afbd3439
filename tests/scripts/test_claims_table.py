"""scripts/claims_table.py: one row per claim, with its verdict if there is one."""

import subprocess
import sys
from pathlib import Path

from normexp.claims.load import claim_names
from normexp.claims.verdict import Verdict, path_of, write
from tests.claims.test_claims_page import a_cell, a_condition, a_verdict

SCRIPT = Path(__file__).parents[2] / "scripts" / "claims_table.py"


def test_the_table_tells_which_condition_decided():
    folder = Path("claims")
    folder.mkdir()
    cells = [a_cell(cell={"lr": 1}), a_cell(0.01, 0.0, 0.02, verdict="refuted", cell={"lr": 3})]
    verdict = Verdict.from_json(a_verdict("faster", "refuted", conditions=[a_condition(*cells)]))
    write(path_of(folder, "faster", scale="small", quick=False), verdict)
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=True)
    rows = [line.split(" | ") for line in done.stdout.splitlines()[2:]]
    assert sorted(row[0].strip("|` ") for row in rows) == sorted(claim_names())
    (row,) = (row for row in rows if "`faster`" in row[0])
    assert row[2:4] == ["refuted", "+1.0 points [0.0, 2.0]; >= 3 points (lr=3; 1 of 2 cells refuted, 1 confirmed)"]
    assert [row[1] for row in rows].count("not judged") == len(rows) - 1
