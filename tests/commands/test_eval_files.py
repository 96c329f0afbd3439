"""`normexp eval` with full disks, cut-off files, damaged checkpoints, and in reports."""

import csv
import json
import re
import resource
import shutil
from pathlib import Path
from threading import Thread

import pytest

from normexp.cli import main
from normexp.commands import eval as command
from normexp.rundir import read_status, rewrite_status
from normexp.rundir.atomic import WriteError
from normexp.rundir.evaluations import append_evaluation, read_evaluations
from tests.report.runs import make_run

RUN = ["train", "model=mlp", "model.width=10", "norm=bn", "probe=off", "data.train_size=100", "batch_size=50"]
LENGTH = ["steps=10", "eval_every=10", "checkpoint_every=6"]
LINES = "evaluations.jsonl"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert main([*RUN, *LENGTH, "name=x", f"runs_dir={folder}"]) == 0
    return folder / "x"


@pytest.fixture
def run(trained):
    return shutil.copytree(trained, Path("runs/x"))


def entry(**changes):
    usual = {"step": 60, "split": "test", "statistics": "running", "statistics_from": "train", "fold": False}
    return (
        usual
        | {"shift": None, "severity": None, "seed": 0, "loss": 0.5, "accuracy": 0.25, "confusion": [[1]]}
        | changes
    )


def test_half_a_line_at_the_end_costs_nothing_else(run, capsys):
    """As a kill or a power cut leaves it."""
    assert main(["eval", "runs/x"]) == 0
    whole = (run / LINES).read_bytes()
    (run / LINES).write_bytes(whole + whole[: len(whole) // 2])
    assert main(["report", "runs/x"]) == 0
    assert main(["eval", "runs/x", "shift=invert"]) == 0
    assert [entry["shift"] for entry in read_evaluations(run)] == [None, "invert"]
    assert (run / LINES).read_bytes().startswith(whole)
    capsys.readouterr()
    assert main(["report", "runs/x"]) == 0
    listed = capsys.readouterr().out.partition("Evaluations")[2]
    assert "none" in listed
    assert "invert" in listed


def test_on_a_full_disk_the_result_is_shown_and_the_file_stays_as_it_was(run, capsys, monkeypatch):
    assert main(["eval", "runs/x"]) == 0
    before = (run / LINES).read_bytes()

    def append_within_limit(*args):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))  # a write beyond it is cut off
        try:
            append_evaluation(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(command, "append_evaluation", append_within_limit)
    capsys.readouterr()
    assert main(["eval", "runs/x", "shift=invert"]) == 1
    printed = capsys.readouterr()
    assert "confusion matrix" in printed.out
    assert printed.err == "normexp: runs/x/evaluations.jsonl could not be written (No space left on device).\n"
    assert (run / LINES).read_bytes() == before


def test_where_nothing_can_be_written_the_result_is_shown(run, capsys):
    (run / LINES).mkdir()
    assert main(["eval", "runs/x"]) == 1
    assert "confusion matrix" in capsys.readouterr().out
    assert main(["report", "runs/x"]) == 0


def test_several_at_once_keep_all_lines(tmp_path):
    def append(k):
        for i in range(10):
            append_evaluation(tmp_path, entry(seed=10 * k + i, confusion=[[k] * 3000]))

    threads = [Thread(target=append, args=[k]) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry["seed"] for entry in read_evaluations(tmp_path)) == list(range(40))
    assert (tmp_path / LINES).read_bytes().count(b"\n") == 40


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-300]), Path.unlink])
def test_a_damaged_checkpoint_is_replaced_as_the_message_says(damage, run, capsys):
    """The previous one holds another network, so it is not evaluated instead."""
    assert main(["eval", "runs/x"]) == 0
    damage(run / "checkpoint.pt")
    capsys.readouterr()
    assert main(["eval", "runs/x"]) == 2
    message = capsys.readouterr().err
    advice = "train the steps after checkpoint.prev.pt again, delete runs/x/status.json and use normexp resume runs/x."
    assert advice in message
    (run / "status.json").unlink()
    assert main(["resume", "runs/x"]) == 0
    assert main(["eval", "runs/x"]) == 0
    before, after = read_evaluations(run)
    assert before["loss"] == after["loss"]


def test_evaluations_of_a_shorter_run_are_not_those_of_the_extended_one(run, capsys):
    assert main(["eval", "runs/x", "shift=invert"]) == 0
    assert main(["resume", "runs/x", "steps=12"]) == 0
    assert main(["eval", "runs/x"]) == 0
    capsys.readouterr()
    assert main(["report", "runs/x"]) == 0
    assert "invert" not in capsys.readouterr().out.partition("Evaluations")[2]


def test_report_files_have_the_evaluations_of_a_sweep():
    """The last of each kind, in one column of the CSV file whether the norm has statistics or not."""
    runs = [make_run(Path("runs"), norm=norm) for norm in ("bn", "ln")]
    low = {"shift": "contrast", "severity": 5}
    append_evaluation(runs[0], entry(**low, accuracy=0.75))
    append_evaluation(runs[0], entry(**low, accuracy=0.5))
    append_evaluation(
        runs[0], entry(**low, statistics="recomputed", statistics_from="test", fold=True, loss=float("nan"))
    )
    append_evaluation(runs[1], entry(**low, statistics=None))
    assert main(["report", "runs", "--csv", "x.csv", "--json", "x.json", "--html", "x.html"]) == 0
    bn, ln = csv.DictReader(Path("x.csv").read_text().splitlines())
    column = "eval/accuracy split=test shift=contrast shift.severity=5"
    adapted = column.replace("accuracy", "loss") + " norm.statistics=recomputed statistics_from=test fold=true"
    assert (bn[column], ln[column], bn[adapted], ln[adapted]) == ("0.5", "0.25", "", "")
    assert bn[adapted.replace("loss", "accuracy")] == "0.25"
    evaluations = json.loads(Path("x.json").read_text())["runs"][0]["evaluations"]
    assert [entry["accuracy"] for entry in evaluations] == [0.75, 0.5, 0.25]
    assert evaluations[0] == {k: v for k, v in entry(**low, accuracy=0.75).items() if k != "confusion"}
    section = Path("x.html").read_text().partition('id="evaluations"')[2].partition("</section>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in section.split("<tr>")[2:]]
    assert [[re.sub("<.*?>", "", cell) for cell in row] for row in rows] == [
        ["norm=bn_lr=0.1_seed=0", "test", "contrast 5", "running", "50.00 %", "0.5"],
        ["norm=bn_lr=0.1_seed=0", "test", "contrast 5", "recomputed (test), folded", "25.00 %", "-"],
        ["norm=ln_lr=0.1_seed=0", "test", "contrast 5", "", "25.00 %", "0.5"],
    ]


def test_damaged_and_hostile_entries_are_shown_as_text(capsys):
    directory = make_run(Path("runs"), norm="bn")
    evil = "<script>alert(1)</script>[red]\x1b[31m"
    for strange in (evil, ["x"] * 1000, {"a": evil}, 1e400, True):
        append_evaluation(directory, entry(shift=strange))
    append_evaluation(directory, entry(split=evil * 1000, severity="9", statistics=[], fold="yes"))
    with (directory / LINES).open("a") as file:
        file.write('{"accuracy": 0.5, "step": 60}\n{"accuracy": NaN, "step": 60}\n[]\n{"accuracy": 1e999}\n')
    assert main(["report", "runs", "--html", "x.html", "--json", "x.json"]) == 0
    assert "<script>alert" not in Path("x.html").read_text()
    json.loads(Path("x.json").read_text(), parse_constant=pytest.fail)
    capsys.readouterr()
    assert main(["report", "runs"]) == 0
    printed = capsys.readouterr().out
    assert "[red]" in printed
    assert "\x1b[31m" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert len(printed.splitlines()) < 100


def test_an_unfinished_run_is_refused_with_the_command_that_completes_it(run, capsys):
    rewrite_status(run, read_status(run), state="interrupted", error=None)
    assert main(["eval", "runs/x"]) == 2
    assert "its state is interrupted. normexp resume runs/x completes it." in capsys.readouterr().err
    with pytest.raises(WriteError):
        append_evaluation(Path("runs/missing"), entry())
