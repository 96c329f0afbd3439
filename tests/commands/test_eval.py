"""`normexp eval RUN`: a finished run's network evaluated again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from normexp.cli import main
from normexp.commands.completion import candidates
from normexp.commands.eval import HELP, parser
from normexp.data.shifts import SHIFTS
from normexp.plotting.confusion import write_confusion
from normexp.report.evaluations import show_classes, show_confusion
from normexp.rundir import read_status, rewrite_status
from normexp.rundir.evaluations import append_evaluation, read_evaluations
from normexp.rundir.reader import read_config
from normexp.training.evaluation_options import PATHS, TYPES

RUN = ["train", "model=mlp", "steps=20", "probe=off", "eval_every=20", "data.train_size=300", "batch_size=50"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert main([*RUN, "name=bn", "norm=bn", f"runs_dir={folder}"]) == 0
    return folder / "bn"


@pytest.fixture
def run(trained):
    return shutil.copytree(trained, Path("runs/bn"))


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "evaluations.jsonl"}


def last(directory):
    return read_evaluations(directory)[-1]


@pytest.mark.parametrize("words", [["norm=bn"], ["norm=bn", "norm.statistics=recomputed"], ["norm=ln"]])
def test_without_options_the_result_is_the_runs_own(words):
    """Bit for bit, and nothing but evaluations.jsonl changes."""
    assert main([*RUN, "name=x", *words]) == 0
    directory = Path("runs/x")
    before = files(directory)
    assert main(["eval", "runs/x"]) == 0
    metrics = read_status(directory)["metrics"]
    assert (last(directory)["accuracy"], last(directory)["loss"]) == (metrics["test/accuracy"], metrics["test/loss"])
    assert main(["eval", "runs/x", "split=val"]) == 0
    assert (last(directory)["accuracy"], last(directory)["loss"]) == (metrics["val/accuracy"], metrics["val/loss"])
    assert files(directory) == before


def test_folding_keeps_the_predictions(run):
    for words in ([], ["fold=true"], ["fold=true", "norm.statistics=recomputed"]):
        assert main(["eval", "runs/bn", "shift=noise", *words]) == 0
    plain, folded, _ = read_evaluations(run)
    assert folded["confusion"] == plain["confusion"]
    assert np.isclose(folded["loss"], plain["loss"], rtol=1e-4)


def test_the_seed_is_that_of_the_noise(run):
    for seed in ("0", "1", "0"):
        assert main(["eval", "runs/bn", "shift=noise", "shift.severity=5", f"seed={seed}"]) == 0
    a, b, c = (entry["loss"] for entry in read_evaluations(run))
    assert a == c != b


def test_damaged_lines_are_skipped(run):
    (run / "evaluations.jsonl").write_text('[1]\n{"accuracy": "x"}\n{"accuracy": 0.5, "loss": 1')  # cut off by a kill
    assert read_evaluations(run) == []
    append_evaluation(run, {"accuracy": 0.25, "loss": float("inf")})
    assert [entry["accuracy"] for entry in read_evaluations(run)] == [0.25]
    assert json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])["nonfinite"] == {"loss": "inf"}


def test_report_lists_evaluations(run, capsys):
    assert main(["report", "runs/bn"]) == 0
    assert "Evaluations" not in capsys.readouterr().out
    assert main(["eval", "runs/bn", "shift=blur", "statistics_from=test"]) == 0
    capsys.readouterr()
    assert main(["report", "runs/bn"]) == 0
    printed = capsys.readouterr().out
    assert "blur 3" in printed.partition("Evaluations")[2]
    assert "recomputed (test)" in printed.partition("Evaluations")[2]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["shift=blurr"], "Did you mean blur?"),
        (["shift.severity=2"], "needs a shift, such as shift=blur"),
        (["shift=blur", "shift.severity=9"], "an integer >= 1 and <= 5"),
        (["shift=invert", "shift.severity=2"], "has no severity"),
        (["split=val", "statistics_from=test"], "needs split=test"),
        (["norm.statistics=running", "statistics_from=train"], "needs norm.statistics=recomputed"),
        (["shfit=blur"], "Did you mean shift?"),
        (["statistics=recomputed"], "Did you mean norm.statistics?"),
        (["data.path=x"], "data.path is for data=npz and data=folder; this run has data=digits"),
        (["fold=yes"], "true or false"),
        (["runs/other"], "eval takes one run"),
        (["split=val", "split=test"], "split is given twice"),
        (["--confusion", "no/matrix.png"], "does not exist"),
        (["--confusion", "matrix.txt"], "must end in .png"),
        (["data_dir=/nowhere", "device=cpux"], "device"),
    ],
)
def test_refused(words, says, run, capsys):
    assert main(["eval", "runs/bn", *words]) == 2
    assert says in capsys.readouterr().err
    assert not (run / "evaluations.jsonl").exists()


def test_refused_runs(run, capsys):
    assert main([*RUN, "name=ln", "norm=ln"]) == 0
    assert main([*RUN, "name=v", "data=mnist1d"]) == 0
    (run / "checkpoint.pt").rename(run / "kept")
    cases = {
        "runs/bn": "has no checkpoint.pt",
        "bn": "Did you mean runs/bn?",
        "runs": "name one of its runs, such as runs/bn.",
        "shift=blur runs/bn": "needs the folder of a run first",
        "runs/ln norm.statistics=recomputed": "is for bn and brn, not for norm=ln",
        "runs/ln fold=true": "fold=true: no batch norm",
        "runs/v shift=blur": "has vectors",
        "": "needs the folder of a run",
    }
    for words, says in cases.items():
        capsys.readouterr()
        assert main(["eval", *words.split()]) == 2, words
        assert says in capsys.readouterr().err
    (run / "checkpoint.pt").write_bytes((run / "kept").read_bytes()[:-500])
    assert main(["eval", "runs/bn"]) == 2
    rewrite_status(run, read_status(run), state="failed", error="killed")
    assert main(["eval", "runs/bn"]) == 2
    assert "only a completed run" in capsys.readouterr().err
    assert read_config(run)["name"] == "bn"


def test_a_run_of_a_sweep_has_equal_signs_in_its_name(run):
    run.rename("runs/norm=bn_lr=0.1")
    assert main(["eval", "runs/norm=bn_lr=0.1", "split=val"]) == 0
    assert last(Path("runs/norm=bn_lr=0.1"))["split"] == "val"


SMALL = ["norm=bn", "steps=2", "probe=off", "eval_every=2", "batch_size=20"]


@pytest.mark.parametrize(
    ("words", "options", "says"),
    [
        (["model=rnn", "model.hidden=8", "data.train_size=40"], "fold=true", "no batch norm of this network directly"),
        (["model=mlp", "data=npz", "data.path=x.npz"], "shift=invert", "have values from 1.908 to 2."),
        (["model=mlp", "data=npz", "data.path=x.npz"], "statistics_from=test", "at least two test samples"),
    ],
)
def test_refused_because_of_the_network_or_the_data(words, options, says, capsys):
    x, y = np.linspace(-2, 2, 41 * 16, dtype=np.float32).reshape(41, 4, 4), np.arange(41) % 2
    np.savez("x.npz", x_train=x[1:], y_train=y[1:], x_test=-x[:1], y_test=y[:1])
    assert main(["train", *SMALL, *words, "name=x"]) == 0
    assert main(["eval", "runs/x", options]) == 2
    assert says in capsys.readouterr().err
    assert not Path("runs/x/evaluations.jsonl").exists()


def test_statistics_of_the_target_data_use_at_least_one_batch():
    assert main(["train", *SMALL, "model=mlp", "data.train_size=40", "norm.recompute_samples=1", "name=x"]) == 0
    for source in ("train", "test"):
        assert main(["eval", "runs/x", f"statistics_from={source}"]) == 0
    assert all(np.isfinite(entry["loss"]) for entry in read_evaluations(Path("runs/x")))


def test_many_classes_whose_names_look_like_markup(capsys):
    """Those with the lowest accuracy are listed, without classes that have no samples."""
    names = ["[red]", "$x$", "a_b^c", *map(str, range(3, 30))]
    matrix = np.diag(np.r_[np.full(25, 4), np.zeros(5, int)])
    matrix[0, 1] = 12
    console = Console(width=80)
    show_classes(console, matrix.tolist(), names)
    show_confusion(console, matrix.tolist(), names)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert [line.split() for line in printed.splitlines() if "[red]" in line] == [
        ["[red]", "16", "25.00", "%", "100.00", "%", "$x$", "(12)"],
        ["[red]", "12", "$x$"],
    ]
    assert "the 20 of 30 classes with the lowest accuracy" in printed
    assert not [line for line in printed.splitlines() if line.split()[:2] == ["29", "0"]]
    write_confusion(Path("matrix.png"), matrix, names)
    assert Path("matrix.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("normexp eval ", []),  # the shell's files
        ("normexp eval runs/bn s", ["split=", "statistics_from=", "shift=", "shift.severity=", "seed="]),
        ("normexp eval runs/bn shift=b", ["shift=brightness", "shift=blur"]),
        ("normexp eval runs/bn shift=blur shift.severity=", [f"shift.severity={k}" for k in range(1, 6)]),
        ("normexp eval runs/bn norm.s", ["norm.statistics="]),
        ("normexp eval runs/bn norm.statistics=r", ["norm.statistics=running", "norm.statistics=recomputed"]),
        ("normexp eval runs/bn fold=", ["fold=true", "fold=false"]),
        ("normexp eval runs/bn device=c", ["device=cpu", "device=cuda"]),
        ("normexp eval runs/bn --c", ["--confusion"]),
        ("normexp eval runs/bn --confusion ", []),
    ],
)
def test_completion(line, offers):
    assert candidates(line) == offers


def test_the_help_names_every_option():
    assert all(option in HELP for option in (*TYPES, *PATHS, *parser().flags[:-1]))
    assert all(kind in HELP for kind in SHIFTS)
    assert max(map(len, HELP.splitlines())) <= 80
