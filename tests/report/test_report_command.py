"""`normexp report`, from its arguments to its output."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normexp.cli import main
from normexp.commands import report
from tests.commands.shell import start
from tests.report.damage import damaged
from tests.report.runs import make_run, make_sweep, said

NORMS = {(norm, lr): [0.9, 0.8] for norm in ("none", "bn", "ln") for lr in (0.5, 2.0)}


@pytest.fixture(scope="module")
def real_sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    done = start("train", "-m", "norm=none,bn", "lr=0.1,1e30", "seed=0,1", "model=mlp", "steps=6", "name=s", cwd=folder)
    assert (folder / "runs/s").is_dir(), done.stderr
    return folder / "runs/s"


@pytest.mark.xdist_group("real sweep")  # so that it is trained once
def test_a_real_sweep(real_sweep, capsys):
    code, out, err = said(capsys, str(real_sweep), "--csv", "rows.csv", "--json", "all.json")
    assert (code, err) == (0, "")
    assert out == "rows         rows.csv\nnumbers      all.json\n"
    _, out, _ = said(capsys, str(real_sweep), "--filter", "norm=bn", "--sort", "lr")
    assert "4 runs: " in out
    assert "diverged" in out
    assert f"page         normexp report {real_sweep} --filter norm=bn --sort lr --html" in out
    rows = list(csv.DictReader(io.StringIO(Path("rows.csv").read_text())))
    assert len(rows) == 8
    assert {(row["norm"], row["lr"], row["seed"]) for row in rows} == {
        (norm, lr, seed) for norm in ("none", "bn") for lr in ("0.1", "1e+30") for seed in "01"
    }
    for row in rows:
        status = json.loads((Path(row["path"]) / "status.json").read_text())
        assert row["state"] == status["state"]
        value = status["metrics"].get("test/accuracy")
        assert row["test/accuracy"] == ("" if value is None else str(value))
    content = json.loads(Path("all.json").read_text())
    assert (content["keys"], content["ranked_by"]) == (["norm", "lr"], "val/accuracy")
    scores = [entry["score"] for entry in content["groups"] if entry["score"] is not None]
    assert scores == sorted(scores, reverse=True)
    best = content["groups"][0]
    values = [run["metrics"]["test/accuracy"] for run in content["runs"] if run["name"] in best["runs"]]
    assert (best["mean"], best["n"]) == (pytest.approx(sum(values) / 2), 2)


def test_standard_output_for_another_program(capsys):
    make_sweep(Path("runs"), NORMS)
    _, out, _ = said(capsys, "runs", "--json", "-")
    content = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert len(content["runs"]) == 12
    _, out, _ = said(capsys, "runs", "--csv", "-")
    assert len(list(csv.reader(io.StringIO(out)))) == 13
    assert said(capsys, "runs", "--csv", "-", "--json", "-")[0] == 2


def test_grouping_sorting_filtering_and_another_metric(capsys):
    make_sweep(Path("runs"), NORMS)
    _, out, _ = said(capsys, "runs", "--group-by", "norm", "--sort", "norm", "--metric", "val/accuracy", "--json", "-")
    content = json.loads(out)
    sizes = [(entry["label"], entry["n"]) for entry in content["groups"]]
    assert sizes == [("norm=none", 4), ("norm=bn", 4), ("norm=ln", 4)]
    assert content["metric"] == "val/accuracy"
    filters = ["--filter", "norm=bn,ln", "--filter", "lr=5e-1", "--filter", "seed=1"]
    _, out, _ = said(capsys, "runs", *filters, "--json", "-")
    assert [run["name"] for run in json.loads(out)["runs"]] == ["norm=bn_lr=0.5_seed=1", "norm=ln_lr=0.5_seed=1"]
    assert "6 runs" in said(capsys, "--filter", "state=completed", "--filter=lr=2", "runs")[1]


def test_filters_on_lists_and_on_what_is_missing(capsys):
    make_run(Path("runs"), name="a", model__channels=[16, 32])
    make_run(Path("runs"), name="b", model__channels=[8])
    make_run(Path("runs"), name="c", grad_clip=None)
    for given_filter, names in [
        ("model.channels=[16,32]", ["a"]),
        ("model.channels=[8],[16,32]", ["a", "b"]),
        ("grad_clip=null", ["a", "b", "c"]),
        ("norm.affine=true", ["a", "b", "c"]),
    ]:
        _, out, _ = said(capsys, "runs", "--filter", given_filter, "--json", "-")
        assert [run["name"] for run in json.loads(out)["runs"]] == names


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name the folder of a run or sweep"),
        (["runz"], "runz does not exist. Did you mean runs?"),
        (["empty"], "No runs in empty."),
        (["runs", "--metrik", "x"], "Unknown flag --metrik. Did you mean --metric?"),
        (["runs", "--metric"], "--metric must be followed by a value"),
        (["runs", "--metric", "tset/accuracy"], "Did you mean test/accuracy?"),
        (["runs", "--metric", "accuracy"], "--metric accuracy: no run logged that metric. Did you mean test/accuracy?"),
        (["runs", "--metric", "test_acc"], "--metric test_acc: no run logged that metric. Did you mean test/accuracy?"),
        (["runs", "--csv"], "--csv needs a file: --csv runs.csv, or --csv - for standard output."),
        (["--json", "runs"], "--json needs a file: --json runs.json, or --json - for standard output."),
        (["runs", "--group-by", "nrom"], "Unknown key nrom. Did you mean norm?"),
        (["runs", "--sort", "nrom"], "--sort nrom: rows can be sorted by metric, name, norm, lr. Did you mean norm?"),
        (["runs", "--sort", "nrom", "--csv", "x.csv"], "--sort nrom: rows can be sorted by metric, name, norm, lr."),
        (["runs", "--filter", "norm"], "expected KEY=VALUE"),
        (["runs", "--filter", "nrom=bn"], "Unknown key nrom. Did you mean norm?"),
        (["runs", "--filter", "norm=bm"], "--filter norm=bm: norm is one of none, bn, ln."),
        (["runs", "--filter", "lr=3"], "--filter lr=3: lr is one of 0.5, 2."),
        (["runs", "--filter", "lr.x=3"], "Unknown key lr.x."),
        (["runs", "--filter", "state=complete"], "--filter state=complete: state is always completed. Did you mean"),
        (["runs", "--filter", "norm=bn", "--filter", "norm=ln"], "No run matches --filter norm=bn --filter norm=ln."),
        (["runs", "--filter", "state=failed"], "No run matches --filter state=failed."),
        (
            ["runs", "--plot", "val/acuracy"],
            "--plot val/acuracy: no run logged that metric. Did you mean val/accuracy?",
        ),
        (["runs", "--plot", "test/accuracy"], "runs have a single value of it, or none. Try --plot val/accuracy."),
        (
            ["runs", "--plot", "train/loss"],
            "--plot train/loss: nothing to plot; runs have a single value of it, or none.\n",
        ),
        (["runs", "--names"], "--names needs --markdown, --latex or --figures."),
        (["runs", "--bold"], "--bold needs --markdown or --latex."),
        (["runs", "--columns", "lr"], "--columns needs --markdown or --latex."),
        (["runs", "--latex", "--columns", "lrr"], "--columns lrr: columns can be norm, lr. Did you mean lr?"),
        (["runs", "--latex", "--markdown"], "Only one of --markdown and --latex can write to standard output"),
        (["runs", "--csv", "out.txt", "--json", "out.txt"], "--csv and --json can't write the same file"),
        (["runs", "--latex", "nowhere/t.tex"], "--latex nowhere/t.tex: "),
        (["runs", "--markdown", "--names", "nrom=bn:BN"], "nrom. Did you mean norm?"),
        (["runs", "--markdown", "--names", "norm=batch:BN"], "--names norm=batch: norm is one of none, bn, ln here."),
        (["runs", "--markdown", "--names", "norm=:BN"], "--names norm=:BN: write KEY=VALUE:NAME or KEY:NAME"),
        (["runs", "--markdown", "--names", "missing.yaml"], "--names missing.yaml: No such file or directory."),
        (["runs", "--markdown", "--names", "list.yaml"], "--names list.yaml: not a yaml file with names."),
        (["runs", "--markdown", "--names", "deep.yaml"], "--names deep.yaml: the name of norm must be a string."),
        (["runs", "--csv", "nowhere/a.csv"], "--csv nowhere/a.csv: the folder nowhere does not exist."),
        (["runs", "--json=runs"], "--json runs is a folder; name a file in it, such as runs/report.json."),
        (["runs", "--html", "empty"], "--html empty is a folder; name a file in it, such as empty/report.html."),
        (["runs", "--figures", "file"], "--figures file is a file; name a folder for the figures."),
        (["runs", "--html", "nowhere/a.html"], "--html nowhere/a.html: the folder nowhere does not exist"),
    ],
)
def test_user_errors_print_one_sentence_and_write_nothing(capsys, words, sentence):
    make_sweep(Path("runs"), NORMS)
    Path("empty").mkdir()
    Path("file").touch()
    Path("list.yaml").write_text("[1, 2]")
    Path("deep.yaml").write_text("norm: {bn: {a: b}}")
    before = sorted(Path().rglob("*"))
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.startswith("normexp: ") and err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_two_folders_are_compared_and_three_are_not(capsys):
    make_sweep(Path("a"), NORMS)
    make_sweep(Path("b"), {("bn", 0.5): [0.95, 0.85], ("ln", 0.5): [0.9, 0.9]})
    _, out, _ = said(capsys, "a", "b")
    assert "16 runs: 16 completed" in out
    assert "folder" in out
    assert "+5.00 ± 0.00*" in out
    assert "*: the interval excludes 0." in out
    _, out, _ = said(capsys, "a", "b", "--json", "-", "--filter", "norm=bn")
    content = json.loads(out)["comparison"]
    (only,) = content["differences"]
    assert (only["label"], only["method"], only["difference"]) == ("lr=0.5", "paired", pytest.approx(0.05))
    make_sweep(Path("c"), NORMS)
    _, out, _ = said(capsys, "a", "b", "c")
    assert "28 runs" in out
    assert "B - A" not in out


def test_left_out_runs_are_listed(capsys):
    make_run(Path("runs"), name="good")
    for number in range(8):
        (make_run(Path("runs"), name=f"bad{number}") / "status.json").write_text("{")
    _, out, _ = said(capsys, "runs")
    assert "8 folders left out" in out
    assert "runs/bad0: its status.json is damaged." in out
    assert "and 3 more" in out


def test_the_page_and_the_figures(capsys):
    make_sweep(Path("runs/s"), NORMS)
    code, out, _ = said(capsys, "--html", "runs/s", "--figures", "figures")
    assert code == 0
    assert "<html" in Path("runs/s/report.html").read_text()
    assert "page         runs/s/report.html" in out
    assert list(Path("figures").glob("*.png")) and list(Path("figures").glob("*.csv"))
    said(capsys, "runs/s", "--html", "mine.html")
    assert Path("mine.html").is_file()


def test_help_names_every_flag(capsys):
    _, out, _ = said(capsys, "--help")
    assert set(re.findall(r"^  (--[\w-]+)", out, re.M)) == {*report.parser().flags} - {"--help"}
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.xdist_group("real sweep")
def test_an_ascii_terminal(real_sweep):
    done = start("report", str(real_sweep), env={"PYTHONIOENCODING": "ascii", "PATH": ""})
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 runs" in done.stdout


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_damage_never_raises(tmp_path_factory, data):
    folder = str(damaged(tmp_path_factory.mktemp("fuzz"), data))
    assert main(["report", folder, "--json", f"{folder}/all.json", "--csv", f"{folder}/rows.csv"]) == 0
    json.loads(Path(folder, "all.json").read_text(), parse_constant=pytest.fail)
    assert main(["report", folder, f"{folder}/good"]) == 0
    assert main(["runs", folder]) == 0


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_random_damage_never_raises_in_tables_for_papers_plots_and_lists(tmp_path_factory, data):
    folder = str(damaged(tmp_path_factory.mktemp("fuzz"), data))
    assert main(["report", folder, "--latex", f"{folder}/table.tex", "--names", "--bold"]) == 0
    assert main(["report", folder, "--plot", "train/loss"]) in (0, 2)  # 2: nothing left to plot
    assert main(["metrics", folder]) == 0
    assert main(["runs", folder, "--json", "--sort", "accuracy"]) == 0
