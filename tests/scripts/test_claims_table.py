"""scripts/claims_table.py: the page of published results, from verdict files."""

import subprocess
import sys
from pathlib import Path

import pytest

from normexp.claims.verdict import Verdict, path_of, write
from tests.claims.verdicts import a_cell, a_condition, a_verdict, an_exact

SCRIPT = Path(__file__).parents[2] / "scripts" / "claims_table.py"


def run(folder):
    return subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claims")
    cells = [
        a_cell(cell={"activation": "relu"}),
        a_cell(-0.2, -0.3, -0.1, verdict="refuted", cell={"activation": "tanh"}),
    ]
    verdicts = [
        a_verdict("mine", "confirmed in part", statement="Either | or.", conditions=[a_condition(*cells)]),
        a_verdict("vast", scale="full", group="stability", setup={"data": "CIFAR-10"}, exploratory=True, grade="B"),
        a_verdict("fast", quick=True),
        an_exact("own-formula"),
    ]
    for verdict in map(Verdict.from_json, verdicts):
        write(path_of(folder, verdict.claim, scale=verdict.scale, quick=verdict.quick), verdict)
    (folder / "damaged.json").write_text("{")
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_group_has_a_table_with_a_row_for_each_claim(printed):
    lines = printed.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# Results of the claims", "## Speed", "## Stability", "## Mechanism"
    ]  # fmt: skip
    rows = [[part.strip() for part in line[1:-1].split(" | ")] for line in lines if line.startswith("| `")]
    heads = [line for line in lines if line.startswith("| claim")]
    assert {len(row) for row in rows} == {head.count("|") - 1 for head in heads} == {7}
    mine, vast, formula = rows
    assert mine[0] == "`mine`: Either / or."
    assert mine[2].startswith("Confirmed for relu: bn gains +24.1 points [20.3, 27.9]; refuted for tanh: -20 points")
    assert mine[3:] == ["✓✗", "A", "5", "MNIST"]
    assert vast[1] == "**confirmed**, exploratory, outdated"  # no claim has this rule now
    assert vast[4:] == ["B", "5", "CIFAR-10, full scale"]
    assert formula[4:6] == ["exact", "3"]


def test_the_page_says_when_with_which_versions_and_how_many_may_be_wrong(printed):
    assert (
        "3 verdicts: 2 confirmed, 1 confirmed in part. Expect at most one false verdict among the 2 decided" in printed
    )
    assert "Judged 2026-11-21 with normexp 0.1, torch 2.9, python 3.11.7, cpu some cpu." in printed
    assert "Cells: ✓ confirmed, ✗ refuted." in printed
    assert "Not judged yet: " in printed
    assert "`formula`" in printed
    assert "fast`" not in printed.partition("Not judged yet")[0]  # a quick run


def test_a_folder_without_verdicts_is_one_sentence():
    done = run(".")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
