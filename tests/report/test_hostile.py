"""Malicious run directories: nothing in them is executed, controls terminal or browser, or causes a traceback."""

import csv
import io
import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from normexp.cli import main
from normexp.report.export import csv_text
from normexp.report.read import read
from normexp.rundir.reader import displayable
from tests.report.hostile import YAMLS, damaging, hostile
from tests.report.runs import make_run, write_metrics
from tests.report.test_page import Page

WORDS = [
    ["runs"],
    ["runs", "runs"],
    ["report", "runs"],
    ["report", "runs", "--csv", "-"],
    ["report", "runs", "--json", "-"],
    ["report", "runs", "--sort", "lr", "--metric", "val/accuracy"],
    ["report", "runs", "runs/good", "--group-by", "norm,lr"],
    ["report", "runs", "--metric", "nothing"],
    ["report", "runs", "--filter", "lr=7"],
    ["report", "runs/goof"],
    ["report", "--html", "page.html", "--figures", "figures", "--csv", "rows.csv", "--json", "all.json", "runs"],
]


def commands(text):
    """Control sequences in output, other than colors and newlines."""
    return {c for c in re.sub(r"\x1b\[[\d;]*m", "", text) if not c.isprintable() and c != "\n"}


@pytest.mark.parametrize("colored", [False, True])
@pytest.mark.parametrize("make", [hostile, pytest.param(damaging, marks=pytest.mark.long)])
def test_terminal_output_has_no_control_sequences_and_nothing_else_is_written(capsys, monkeypatch, make, colored):
    make(Path("runs"))
    if colored:
        monkeypatch.setenv("FORCE_COLOR", "1")
    before = {path: path.lstat().st_mtime_ns for path in Path("runs").rglob("*")}
    for words in WORDS if not colored else WORDS[:-1]:  # figures take seconds
        code = main(words)
        out, err = capsys.readouterr()
        assert (commands(out), commands(err)) == (set(), set()), words
        assert code in (0, 2) and (code == 0) == (err == "") and err.count("\n") <= 1, words
        assert colored or "\x1b" not in out
        assert "\N{BOMB}" not in out, words  # nor is :bomb: replaced by it
    written = {path.name for path in Path().iterdir()}
    assert written == {"runs", *({"page.html", "figures", "rows.csv", "all.json"} if not colored else ())}
    assert {path: path.lstat().st_mtime_ns for path in Path("runs").rglob("*")} == before
    for path in [*Path().glob("*.csv"), *Path().glob("*.json"), *Path("figures").glob("*.csv")]:
        assert commands(path.read_text()) == set(), path


@pytest.mark.parametrize("make", [hostile, damaging])
def test_nothing_in_a_page_or_a_picture_is_markup(make):
    make(Path("runs"))
    assert main(["report", "runs", "--html", "page.html", "--figures", "figures", "--group-by", "norm,lr"]) == 0
    seen = Page(Path("page.html").read_text())
    assert seen.open == []
    assert sum(tag == "script" for tag, _ in seen.elements) == 1
    assert not any(tag in ("img", "iframe", "base", "object") for tag, _ in seen.elements)
    for _, attributes in seen.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert "javascript:" not in attributes.get("href", "") and "://" not in attributes.get("href", "")
    pictures = list(Path("figures").glob("*.svg"))
    assert pictures or make is damaging
    for path in pictures:
        tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(path.read_text()).iter()}
        assert tags & {"script", "img", "image", "a", "foreignObject"} == set()


@pytest.mark.long
def test_no_cell_of_a_table_is_a_formula():
    hostile(Path("runs"))
    make_run(Path("runs"), name="-1+1", norm="ln", lr=-0.5, metrics={"test/accuracy": -0.25}, error="@SUM(1)")
    main(["report", "runs", "--csv", "rows.csv", "--figures", "figures"])
    for path in [Path("rows.csv"), *Path("figures").glob("*.csv")]:
        for cell in [cell for row in csv.reader(path.read_text().splitlines()) for cell in row]:
            if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20"):
                float(cell)
    (row,) = (row for row in csv.DictReader(Path("rows.csv").read_text().splitlines()) if row["run"] == "'-1+1")
    assert (row["lr"], row["test/accuracy"], row["error"]) == ("-0.5", "-0.25", "'@SUM(1)")


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_cell_starts_like_a_formula(sign):
    ((head,), (cell,)) = csv.reader(io.StringIO(csv_text([f"{sign}a"], [[f"{sign}1+1"]]), newline=""))
    assert (head, cell) == (f"'{sign}a", f"'{sign}1+1")


@pytest.mark.parametrize("name", YAMLS)
def test_hostile_configs_are_damaged(name):
    """They execute nothing and exhaust neither time, memory nor stack, all of which plain yaml would allow."""
    (make_run(Path("runs"), name="run") / "config.yaml").write_text(YAMLS[name])
    make_run(Path("runs"), name="good")
    collection = read([Path("runs")])
    assert [run.name for run in collection.runs] == ["good"]
    assert collection.left_out == ["runs/run: its config.yaml is damaged (state: completed)."]
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_what_yaml_has_beyond_json_is_read():
    (make_run(Path("runs"), name="run") / "config.yaml").write_text(
        "norm: {name: bn}\nwhen: 2026-01-02\nbytes: !!binary aGk=\nset: !!set {a}\n1: .nan\n~: &x .inf\nsame: *x\n"
    )
    (run,) = read([Path("runs")]).runs
    assert run.config["when"] == "2026-01-02"
    assert run.config["same"] == run.config["None"] == float("inf")
    assert run.config["set"] == "{'a'}"


def test_endless_and_irregular_files_are_left_out():
    damaging(Path("runs"))
    collection = read([Path("runs")])
    assert "runs/pipe status.json: its status.json can't be opened (not a regular file)." in collection.left_out
    for problem in (
        "device config.yaml: its config.yaml can't be opened (not a regular file)",
        "huge status.json: its status.json can't be opened (too large: 10,000",
    ):
        assert any(problem in text for text in collection.left_out)
    assert not any(run.name.startswith(("disk", "above", "loop/")) for run in collection.runs)


def test_deeply_nested_folders(capsys):
    make_run(Path("runs"), name="good")
    home = Path.cwd()
    os.chdir("runs")
    try:
        for _ in range(1100):
            Path("d").mkdir()
            os.chdir("d")
        os.chdir(home)
        assert main(["runs"]) == main(["report", "runs"]) == 0
    finally:
        os.chdir(home)
        subprocess.run(["rm", "-r", "runs"], check=True)  # Python's own way is recursive
    assert "1 run: 1 completed" in capsys.readouterr().out


def test_steps_and_times_out_of_range(capsys):
    directory = make_run(Path("runs"), state="running", status={"step": 2**62, "total_steps": 2**63 - 1, "pid": 2**40})
    write_metrics(directory, [{"step": step, "train/loss": 1.0} for step in (0, 2**62, 2**63 - 1)])
    for i, started in enumerate(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", None]):
        os.utime(make_run(Path("runs"), seed=i + 1, status={"started": started}), (2**35, 2**35))
    assert main(["runs"]) == main(["report", "runs", "--html", "page.html"]) == 0
    assert "4 runs" in capsys.readouterr().out


def test_a_folder_without_permission_is_an_error_message(capsys, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    for words in (["runs", "there"], ["report", "there", "--csv", "-"]):
        assert main(words) == 2
        assert "there can't be opened (Permission denied)." in capsys.readouterr().err


def test_only_errors_keep_their_newlines():
    text = "one\ntwo\r\x1b[2J\u2028three"
    assert displayable({"error": text}, keep_lines=True) == {"error": "one\ntwo??[2J?three"}
    replaced = "one?two??[2J?three"
    assert displayable([{text: (text, 1, None, True, 0.5)}]) == [{replaced: [replaced, 1, None, True, 0.5]}]
    with pytest.raises(ValueError):
        displayable(1 << 20_000)
