"""`normexp metrics`, and the meanings of the metrics."""

import re
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.commands import metrics, runs
from normexp.metrics import MEANINGS, find_pattern
from normexp.probes import PROBES, load, meanings
from normexp.report.logged import known_metrics, logged_metrics
from normexp.report.read import read
from tests.report.runs import make_run
from tests.training.short import train_and_record

FLOW = {"grad_flow/fc1": 0.5, "grad_flow/fc2": 0.25}
METRICS = {"val/accuracy": 0.9, **FLOW, "gamma/fc1/mean": 1.0, "gamma/fc1/std": 0.0}


def said(capsys, *words):
    """Exit code, lines of standard output, standard error."""
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def test_every_logged_metric_has_a_meaning_and_every_meaning_a_metric():
    switches = [f"probe.{name}=true" for name in PROBES]
    records, _, _ = train_and_record(
        *switches,
        "probe.landscape_every=6",
        "norm.position=post",
        "norm.statistics=recomputed",
        "model.channels=[4,4]",
        "weight=sws",
    )
    for more in (
        ["norm=brn"],
        ["norm=sn"],
        ["norm=derf"],
        ["norm=evonorm"],
        ["norm=frn", "model=mlp", "activation=tlu"],
    ):
        records += train_and_record("probe.affine=true", "probe.batch_statistics=true", *more)[0]
    records += train_and_record("model=vit", "model.depth=1", "probe.attention=true")[0]
    patterns = known_metrics()
    found = {tag: find_pattern(tag, patterns) for record in records for tag in record.scalars}
    assert len(found) > 100
    assert [tag for tag, pattern in found.items() if pattern is None] == []
    assert patterns.keys() - set(found.values()) == {"amp/loss_scale"}


def test_meanings_are_read_without_importing_the_probes():
    assert meanings() == {tag: meaning for name in PROBES for tag, meaning in load(name).meanings.items()}


def test_patterns_without_a_placeholder_come_first():
    known = known_metrics()
    assert find_pattern("grad_norm/total", known) == "grad_norm/total"
    assert find_pattern("grad_norm/fc1", known) == "grad_norm/LAYER"
    assert find_pattern("activation_in/block1.conv1/p15", known) == "activation_in/LAYER"
    assert find_pattern("convergence/steps_to_90", known) == "convergence/steps_to_PERCENT"
    assert find_pattern("grad_norms/fc1", known) is None


def test_all_metrics_are_listed(capsys):
    code, lines, err = said(capsys, "metrics")
    assert (code, err) == (0, "")
    listed = {line.split(" ")[0] for line in lines}
    assert {*MEANINGS, *meanings()} <= listed
    assert said(capsys, "report", "--metric", "help")[1] == lines


def test_metrics_of_runs_have_their_last_values(capsys):
    make_run(Path("runs"), name="a", metrics={**METRICS, "mine/fc1": 7.0})
    make_run(Path("runs"), name="b", seed=1, metrics={**METRICS, "val/accuracy": 0.8, "grad_flow/fc1": None})
    assert logged_metrics(read([Path("runs/a")]).runs) == [
        ("val/accuracy", "90.00 %", MEANINGS["val/accuracy"]),
        ("grad_flow/LAYER", "0.25 to 0.5", meanings()["grad_flow/LAYER"]),
        ("gamma/LAYER", "mean 1", meanings()["gamma/LAYER"]),
        ("mine/fc1", "7", ""),
    ]
    rows = {name: value for name, value, _ in logged_metrics(read([Path("runs")]).runs, by_layer=True)}
    assert rows["val/accuracy"] == "80.00 % to 90.00 %"
    assert rows["grad_flow/fc1"] == "0.5"
    assert rows["gamma/fc1/std"] == "0"
    code, lines, err = said(capsys, "metrics", "runs/a", "--layers")
    assert (code, err) == (0, "")
    assert any(line.startswith("gamma/fc1/mean ") and "scale of the norm" in line for line in lines)
    assert said(capsys, "report", "runs", "--metric", "help")[1] == said(capsys, "metrics", "runs")[1]


@pytest.mark.parametrize("command", [metrics, runs])
def test_help_names_every_flag_in_80_columns(capsys, command):
    _, lines, _ = said(capsys, command.__name__.rpartition(".")[2], "--help")
    assert {*re.findall(r"^  (--[\w-]+)", "\n".join(lines), re.M)} == {*command.parser().flags} - {"--help"}
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["metrics", "nowhere"], "nowhere"),
        (["metrics", "val/loss"], "val/loss is a metric: loss on the validation set. normexp metrics takes the folder"),
        (["metrics", "--layers"], "--layers needs a run"),
        (["metrics", "runs", "--layer"], "Did you mean --layers?"),
        (["metrics", "runs"], "No run has logged anything yet"),
    ],
)
def test_user_errors_print_one_sentence(capsys, words, sentence):
    make_run(Path("runs"), metrics={})
    code, lines, err = said(capsys, *words)
    assert (code, lines) == (2, [])
    assert sentence in err
    assert err.startswith("normexp: ") and err.count("\n") == 1
