"""`normexp eval RUN`: a finished run's network evaluated again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from normexp.cli import main
from normexp.rundir import read_status, rewrite_status
from normexp.rundir.evaluations import append_evaluation, read_evaluations
from normexp.rundir.reader import read_config
from normexp.training.build import build
from normexp.training.checkpoint import load
from tests.conftest import compose

RUN = ["train", "model=mlp", "steps=20", "probe=off", "eval_every=20", "data.train_size=300", "batch_size=50"]


@pytest.fixture
def run():
    assert main([*RUN, "name=bn", "norm=bn"]) == 0
    return Path("runs/bn")


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "evaluations.jsonl"}


def last(directory):
    return read_evaluations(directory)[-1]


def trained(directory):
    """The run's data and its network in evaluation mode."""
    parts = build(compose(*RUN[1:], "norm=bn"))
    parts.model.load_state_dict(load(directory / "checkpoint.pt")["model"])
    return parts.data, parts.model.eval()


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


def test_confusion_matrix(run, capsys):
    assert main(["eval", "runs/bn", "--confusion", "matrix.png"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    data, model = trained(run)
    inputs, labels = data.test.batch(torch.arange(len(data.test)))
    expected = confusion_matrix(labels, model(inputs).argmax(1))
    assert last(run)["confusion"] == expected.tolist()
    recall, precision = expected[3, 3] / expected[3].sum(), expected[3, 3] / expected[:, 3].sum()
    row = next(line.split() for line in printed.splitlines() if line.strip().startswith("3 "))
    assert row[1:5] == [str(expected[3].sum()), f"{100 * recall:.2f}", "%", f"{100 * precision:.2f}"]
    assert Path("matrix.png").read_bytes().startswith(b"\x89PNG")


def test_statistics_of_the_target_data(run):
    """The moments of each norm's inputs over test images of low contrast, by a plain loop."""
    low = ["shift=contrast", "shift.severity=5"]
    assert main(["eval", "runs/bn", *low]) == 0
    assert main(["eval", "runs/bn", *low, "statistics_from=test"]) == 0
    shifted, adapted = read_evaluations(run)
    data, model = trained(run)
    raw = data.test.images.float()
    mean = raw.mean((2, 3), keepdim=True)
    images = (mean + 0.1 * (raw - mean) - data.test.mean) / data.test.std
    assert shifted["accuracy"] == float((model(images).argmax(1) == data.test.labels).double().mean())
    order = torch.arange(len(images) // 50 * 50).split(50)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    moments = {norm: [] for norm in norms}
    for norm in norms:
        norm.track_running_stats = False
        norm.register_forward_pre_hook(lambda norm, args: moments[norm].append(args[0].double()))
    model.train()
    with torch.no_grad():
        for part in order:
            model(images[part])
    for norm in norms:
        values = torch.cat(moments[norm])
        norm.running_mean, norm.running_var = values.mean(0).float(), values.var(0, correction=0).float()
        norm.track_running_stats = True
        norm._forward_pre_hooks.clear()
    accuracy = float((model.eval()(images).argmax(1) == data.test.labels).double().mean())
    assert adapted["accuracy"] > shifted["accuracy"] + 0.1
    assert abs(adapted["accuracy"] - accuracy) < 0.03  # the batches differ


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
        "runs/ln norm.statistics=recomputed": "norm=ln has no statistics",
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
