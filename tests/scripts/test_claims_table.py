"""scripts/claims_table.py: the page of published results, from verdict files."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from normexp.claims.verdict import Verdict, path_of, write
from tests.claims.verdicts import a_cell, a_condition, a_verdict, an_exact

START, END = "<!-- verdicts, from scripts/claims_table.py -->\n", "<!-- end of verdicts -->\n"

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
        a_verdict(
            "vast",
            scale="full",
            group="stability",
            setup={"data": "CIFAR-10"},
            exploratory=True,
            grade="B",
            seeds=[531, 532, 533, 534, 535],
        ),
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
    assert "Judged with seeds 501 to 505, 531 to 535 (vast); the three after the last seed" in printed
    assert "Training took 0.1 hours of one core" in printed  # 132.5 seconds, twice
    assert "Cells: ✓ confirmed, ✗ refuted." in printed
    assert "Not judged yet: " in printed
    assert "`formula`" in printed
    assert "fast`" not in printed.partition("Not judged yet")[0]  # a quick run


def test_a_folder_without_verdicts_is_one_sentence():
    done = run(".")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_write_makes_the_page_the_cards_and_the_table_in_readme(tmp_path):
    for folder in ("scripts", "docs", "claims"):
        (tmp_path / folder).mkdir()
    script = tmp_path / "scripts" / SCRIPT.name
    shutil.copy(SCRIPT, script)
    readme = tmp_path / "README.md"
    readme.write_text("before\n" + START + "| an old table |\n" + END + "after\n")
    verdicts = [
        a_verdict("dyt-replaces", statement="DyT."),
        a_verdict("smoother"),
        a_verdict("gap-head", folder="/mine/claims"),
    ]
    for verdict in map(Verdict.from_json, verdicts):
        write(path_of(tmp_path / "claims", verdict.claim, scale="small", quick=False), verdict)
    for _ in range(2):  # the second time, the table is there
        subprocess.run([sys.executable, script, tmp_path / "claims", "--write"], check=True)
    lines = readme.read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("before", "after", 8)
    assert lines[5].startswith("| DyT. | **confirmed**, outdated | ")  # after smoother, and without gap-head
    assert "`gap-head`" in (tmp_path / "docs" / "claim-results.md").read_text()
    cards = (tmp_path / "docs" / "claim-cards.html").read_text()
    assert "gap-head" in cards
    assert "/mine" not in cards  # no one else has these runs


def test_readme_shows_verdicts_of_the_page_of_results():
    root = SCRIPT.parents[1]
    table = (root / "README.md").read_text().partition(START)[2].partition(END)[0]
    rows = [line[1:-1].strip().split(" | ") for line in table.splitlines()[2:]]
    results = (root / "docs" / "claim-results.md").read_text()
    assert len(rows) == 10
    for statement, *verdict, scale in rows:
        (line,) = (line for line in results.splitlines() if f": {statement} | {' | '.join(verdict)} | " in line)
        assert line.endswith(f" | {scale} |")
