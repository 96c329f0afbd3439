"""Runs are reproducible, and their directory tells how they ended."""

import json

import pytest
import torch

from normexp import __version__, rundir
from normexp.rundir import read_metrics, read_status
from normexp.training import checkpoint
from normexp.training.build import build
from normexp.training.evaluate import evaluate
from normexp.training.run import run
from tests.conftest import compose
from tests.training.short import QUIET, SMALL, train


def timeless(directory):
    """metrics.jsonl without times."""
    return [
        {tag: value for tag, value in entry.items() if "second" not in tag and not tag.startswith("speed/")}
        for entry in read_metrics(directory)
    ]


def test_a_failure_leaves_its_traceback_and_the_metrics(tmp_path, monkeypatch):
    from normexp.training import trainer

    def broken(step, losses):
        if step == 8:
            raise RuntimeError("[bold]boom[/]")

    monkeypatch.setattr(trainer, "non_finite_loss", broken)
    result = train(tmp_path)
    status = read_status(result.directory)
    assert (status["state"], status["error"], status["step"]) == ("failed", "RuntimeError: [bold]boom[/]", 8)
    assert "Traceback" in (result.directory / "train.log").read_text()
    assert read_metrics(result.directory)[-1]["step"] == 6


def test_the_files_of_a_run_directory(tmp_path):
    result = train(tmp_path, "norm=gn")
    names = {path.name for path in result.directory.iterdir()}
    (events,) = (name for name in names if name.startswith("events.out.tfevents."))
    assert names - {events} == {
        "config.yaml",
        "config_diff.yaml",
        "environment.json",
        "histograms.png",
        "metrics.jsonl",
        "checkpoint.pt",
        "status.json",
        "train.log",
    }
    status = json.loads((result.directory / "status.json").read_text())
    assert list(status) == [
        "state",
        "step",
        "total_steps",
        "seconds",
        "metrics",
        "error",
        "pid",
        "host",
        "began",
        "started",
    ]
    assert (status["state"], status["step"], status["total_steps"], status["error"]) == ("completed", 12, 12, None)
    merged = {}
    for entry in read_metrics(result.directory):
        merged |= {tag: value for tag, value in entry.items() if tag not in ("step", "epoch", "seconds")}
    assert status["metrics"] == merged
    environment = json.loads((result.directory / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    import yaml

    from normexp.compose.choices import CHOICES
    from normexp.config import read

    stored = yaml.safe_load((result.directory / "config.yaml").read_text())
    assert read(stored, CHOICES) == compose(*SMALL, "norm=gn")


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    from normexp.rundir import environment

    monkeypatch.setattr(environment, "PACKAGES", ("torch", "no-such-package"))
    packages = environment.environment([], device="cpu", threads=1)["packages"]
    assert packages == {"normexp": __version__, "torch": torch.__version__, "no-such-package": None}


def test_a_checkpoint_holds_the_whole_state(tmp_path):
    result = train(tmp_path, "dropout=0.1", "data.augment=[crop]")
    state = checkpoint.load(result.directory / "checkpoint.pt")
    assert state["step"] == 12
    assert set(state["generators"]) == {"python", "numpy", "torch", "augment"}
    assert state["config_hash"] == checkpoint.config_hash(compose(*SMALL, "dropout=0.1", "data.augment=[crop]"))
    assert state["versions"]["torch"] == torch.__version__
    parts = build(compose(*SMALL, "dropout=0.1", "data.augment=[crop]"))
    parts.model.load_state_dict(state["model"])
    parts.optimizer.load_state_dict(state["optimizer"])
    assert evaluate(parts.model, parts.data.test)[1] == result.metrics["test/accuracy"]


def test_a_network_that_can_not_be_built_is_a_failed_run(tmp_path, monkeypatch):
    from normexp.training import run as module

    def exhausted(config):
        raise MemoryError("no memory for it")

    monkeypatch.setattr(module, "build", exhausted)
    status = read_status(train(tmp_path).directory)
    assert (status["state"], status["error"]) == ("failed", "out of memory at batch_size=64")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seed=0", "dropout=0.3", "data.augment=[crop,flip]"],
        pytest.param(
            ["model=resnet", "model.depth=8", "norm=gn", "optim=adamw", "schedule=onecycle"], marks=pytest.mark.long
        ),
        pytest.param(["model=mlp", "norm=ln", "init=kaiming", "grad_clip=0.1", "threads=2"], marks=pytest.mark.long),
    ],
    ids=lambda overrides: " ".join(overrides) or "defaults",
)
def test_the_same_seed_gives_the_same_run_bit_for_bit(tmp_path, overrides):
    one, two = (train(tmp_path / name, *overrides) for name in ("one", "two"))
    assert timeless(one.directory) == timeless(two.directory)
    weights = [checkpoint.load(result.directory / "checkpoint.pt")["model"] for result in (one, two)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_different_seeds_differ_including_0(tmp_path):
    zero, one = (timeless(train(tmp_path / seed, f"seed={seed}").directory) for seed in "01")
    assert zero != one
    assert zero == timeless(train(tmp_path / "default").directory)


@pytest.mark.parametrize(
    "network",
    [
        ["dropout=0.2", "data.augment=[crop]", "grad_clip=0.5"],
        pytest.param(["model=resnet", "model.depth=8", "model.width=4", "dropout=0.2"], marks=pytest.mark.long),
        pytest.param(["model=mlp", "norm=gn", "activation=gelu", "optim=adamw"], marks=pytest.mark.long),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("probe", [["probe=full"], ["probe=landscape", "probe.landscape_every=1"]], ids=" ".join)
def test_probes_do_not_change_training(tmp_path, network, probe):
    """Metrics and weights are the same bit for bit without probes and with all probes in every step."""
    off = train(tmp_path / "off", *network, "probe='off'").directory
    on = train(tmp_path / "on", *network, *probe, "probe.every=1").directory
    looked = {entry["step"]: entry for entry in timeless(on)}
    for entry in timeless(off):
        assert entry.items() <= looked[entry["step"]].items()
    assert len(looked) == 13
    assert len(looked[6]) > 50
    weights = [checkpoint.load(path / "checkpoint.pt") for path in (off, on)]
    assert all(torch.equal(weights[0]["model"][key], weights[1]["model"][key]) for key in weights[0]["model"])
    assert torch.equal(weights[0]["generators"]["torch"], weights[1]["generators"]["torch"])
    assert torch.equal(weights[0]["order"]["generator"], weights[1]["order"]["generator"])


def test_the_defaults_learn(tmp_path):
    config = compose()
    result = run(
        config,
        make_directory=lambda files: rundir.create_run_directory(tmp_path, "run", files),
        diff={},
        command=[],
        console=QUIET,
    )
    assert result.metrics["test/accuracy"] > 0.97


@pytest.mark.parametrize("overrides", [["lr=1e30", "norm=none"], ["lr=1e30"]])
def test_divergence_is_a_result(tmp_path, overrides):
    result = train(tmp_path, *overrides, "log_every=1")
    status = read_status(result.directory)
    assert status["state"] == result.state == "diverged"
    assert "became" in status["error"]
    assert "in step" in status["error"]
    assert 0 < status["step"] < 12
    last = read_metrics(result.directory)[-1]
    assert last["step"] == status["step"]
    assert last["nonfinite"].keys() & {"train/loss", "grad_norm/total"}
    assert "test/accuracy" not in last
