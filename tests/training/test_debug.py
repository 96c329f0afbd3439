"""debug=fast, overfit, profile and anomaly."""

import gzip
import json
import re
from collections import OrderedDict

import pytest
import torch
from same_runs import metrics_without_time
from torch import Tensor, nn

from normexp import rundir
from normexp.commands.run_summary import print_summary
from normexp.config import yaml_files
from normexp.models import MODELS
from normexp.probes import PROBES, switched_on
from normexp.rundir import read_metrics
from normexp.sinks.progress_bar import RunConsole
from normexp.training import debug as debug_modes
from normexp.training.debug import REGIONS, TABLE, TRACE
from normexp.training.run import run
from tests.conftest import compose
from tests.training.short import QUIET, train


def debug(folder, *overrides):
    return run(
        compose(*overrides),
        make_directory=lambda files: rundir.create_run_directory(folder, "run", files),
        diff={},
        command=["normexp"],
        console=QUIET,
    )


def said(result, capsys):
    print_summary(result, RunConsole(width=200))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "model", [m if m in ("cnn", "rnn") else pytest.param(m, marks=pytest.mark.long) for m in MODELS]
)
def test_fast_does_everything_in_a_few_steps(tmp_path, model):
    small = ["model.depth=8", "model.width=4"] if model == "resnet" else []
    result = debug(tmp_path, "debug=fast", f"model={model}", *small)
    assert result.state == "completed"
    tags = {tag for entry in read_metrics(result.directory) for tag in entry}
    assert {"test/accuracy", "noise_scale/total", "landscape/loss_range", "grad_flow/head", "grad_norm/total"} <= tags
    assert {"checkpoint.pt", "checkpoint.prev.pt", "histograms.png"} <= {p.name for p in result.directory.iterdir()}
    assert switched_on(compose("debug=fast").probe) == list(PROBES)


def test_overfit_reports_whether_the_batch_was_memorized(tmp_path, capsys):
    result = debug(tmp_path, "debug=overfit", "steps=60")
    assert result.metrics["train/accuracy"] == 1
    assert "memorized: 100.00 %" in said(result, capsys)
    result = debug(tmp_path, "debug=overfit", "steps=20", "lr=1e-6")
    assert result.metrics["train/accuracy"] < 0.9
    assert "not memorized" in said(result, capsys)


@pytest.mark.long
def test_profile_writes_a_trace_with_the_names_of_the_layers(tmp_path, capsys):
    result = debug(tmp_path, "debug=profile", "model=mlp")
    events = json.loads(gzip.decompress((result.directory / TRACE).read_bytes()))["traceEvents"]
    count = {name: sum(e.get("name") == name and e.get("cat") == "user_annotation" for e in events) for name in REGIONS}
    assert count["batch"] == count["forward"] == count["backward"] == count["update"] == 20
    assert 0 < count["log"] < 20 and count["evaluate"] > 0
    layers = [e["name"] for e in events if e.get("name") in ("fc1", "fc3", "head")]
    assert layers.count("fc1") >= 20 and layers.count("head") == layers.count("fc1")
    assert "aten::addmm" in (result.directory / TABLE).read_text(encoding="utf-8")
    text = said(result, capsys)
    assert str(result.directory / TRACE) in text
    (line,) = [line for line in text.splitlines() if line.startswith("a step's time")]
    shares = [float(word.rstrip("%")) for word in line.split() if word.endswith("%")]
    assert len(shares) == len(REGIONS)
    assert sum(shares) == pytest.approx(100, abs=1)


@pytest.mark.parametrize("mode", ["profile", "anomaly"])
@pytest.mark.long
def test_profile_and_anomaly_do_not_change_metrics(tmp_path, mode):
    usual, debugged = train(tmp_path / "usual"), train(tmp_path / mode, f"debug={mode}", "probe.every=5")
    assert metrics_without_time(usual.directory) == metrics_without_time(debugged.directory)


def test_anomaly_names_layer_step_and_input(tmp_path, capsys):
    blown_up = ["norm=none", "model=mlp", "activation=silu", "lr=1e6", "steps=40", "dropout=0.1"]
    usual = debug(tmp_path, *blown_up)
    assert usual.state == "diverged"
    assert "debug=anomaly" in said(usual, capsys)
    result = debug(tmp_path, *blown_up, "debug=anomaly")
    assert result.state == "diverged"
    assert "debug=anomaly" not in said(result, capsys)
    words = r"in step \d+, [\d,]+ of [\d,]+ values are not finite in (the gradient of )?the output of (fc\d|head)\.\w+"
    assert re.search(words, result.error), result.error


ODD = ["model=mlp", "model.depth=1", "norm=bn", "schedule=constant", "data.train_size=200"]


@pytest.mark.parametrize(
    "overrides",
    [
        [*ODD, "lr=1e30", "steps=1"],  # seen by the evaluation behind the last step
        [*ODD, "probe=landscape", "lr=1e10", "steps=9", "schedule.warmup=0.9", "norm=none"],  # tries 4 times that
        [*ODD, "amp=fp16", "model.depth=8", "init=kaiming", "norm=none", "steps=20"],  # leaves out updates
    ],
)
def test_anomaly_ignores_evaluations_and_probes(tmp_path, overrides):
    usual, watched = (debug(tmp_path, *overrides, *more) for more in ([], ["debug=anomaly"]))
    assert (watched.state, _step(watched.error)) == (usual.state, _step(usual.error))
    if usual.state == "diverged":
        assert watched.metrics.keys() >= {"convergence/best_accuracy"}


def _step(error):
    return error and re.search(r"step \d+", error)[0]


@pytest.mark.parametrize("experiment", yaml_files.choices("experiment"))
@pytest.mark.parametrize("mode", yaml_files.choices("debug"))
@pytest.mark.long
def test_every_experiment_can_be_debugged(experiment, mode):
    assert compose(f"experiment={experiment}", f"debug={mode}", "data.train_size=200").debug == mode


def test_a_profile_of_too_few_steps_says_so(tmp_path, capsys):
    result = debug(tmp_path, "debug=profile", "steps=4")
    assert "trace          none: profiling starts after 10 steps" in said(result, capsys)


class Root(nn.Module):
    """Finite in the forward pass; the gradient at 0 is not."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=0).sqrt()


def test_anomaly_detects_bad_gradients(monkeypatch):
    layer = nn.Sequential(OrderedDict(weight=nn.Linear(3, 3, bias=False), activation=Root()))
    monkeypatch.setattr(debug_modes, "named_layers", lambda model: {"fc1": layer})
    nn.init.zeros_(layer.weight.weight)
    with debug_modes.detect_anomalies(layer):
        loss = layer(torch.ones(2, 3)).sum()
        with pytest.raises(debug_modes.AnomalyError, match=r"6 of 6 values .* gradient of the output of fc1\.weight"):
            loss.backward()
        layer.eval()
        layer(torch.full((2, 3), torch.inf))  # an evaluation is none of its business
    layer.train()
    layer(torch.full((2, 3), torch.nan))  # nor is what comes afterwards
