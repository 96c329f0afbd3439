"""`normexp.register`: components that are defined while Python runs. In a process of their own, since they stay until it ends."""

import json
import os
import subprocess
import sys

import pytest

from normexp.cli import main
from normexp.rundir import read_config
from tests.conftest import ROOT
from tests.test_new_components import FILES

SCRIPT = """
import json
from dataclasses import dataclass, replace

import normexp
from torch.nn import Module
from normexp.config import NormConfig
from normexp.models.activations import Activation
from normexp.norms.base import Norm
from normexp.probes.base import Probe

ENTRIES = {}
for path, text in FILES.items():  # as they would be typed into a notebook
    if path.endswith(".py"):
        exec(text, names := {"__name__": "__main__"})
        ENTRIES[path.split("/")[1]] = names["ENTRY"]
center, wide, stripes, Largest = (ENTRIES[kind] for kind in ("norms", "models", "data", "probes"))


class Cube(Module):
    def forward(self, x):
        return x**3


@dataclass(frozen=True, kw_only=True)
class NoDefault(NormConfig):
    scale: float


def message(call, *words, **keys):
    try:
        call(*words, **keys)
    except normexp.ConfigError as error:
        return str(error)


def unusable(config, site, batch_size):
    return "it never works", "Use norm=none."


normexp.register(norm=replace(center, name="never", problem=unusable))
normexp.register(norm=center, model=wide, data=stripes, probe=Largest)
normexp.register(norm=center)  # a cell that is run again
normexp.register(activation=Activation("cube", lambda site: Cube(), gain=0.5))
cubed = normexp.train("activation=cube", "init=kaiming", "model=mlp", "model.width=400", steps=1, quiet=True)
run = normexp.train("norm=center", "model=wide", "data=stripes", steps=4, name="own", quiet=True)
off = normexp.train("norm=center", "model=wide", "probe=off", steps=1, quiet=True)
print(json.dumps({
    "modules": [type(module).__name__ for module in normexp.build("norm=center", "model=wide", "model.units=3").modules()],
    "config": [run.config.norm.eps, run.config.model.units, run.config.probe.largest],
    "metrics": ["largest/fc1" in run.metrics, "largest/fc1" in off.metrics],
    "cube": [type(cubed.model().fc2.activation).__name__, float(normexp.build(
        "activation=cube", "init=kaiming", "model=mlp", "model.width=400").fc2.weight.weight.std())],
    "data": list(run.data("train").inputs.shape),
    "same": normexp.train("model=mlp", name="same", steps=2, seed=1, quiet=True).metrics["val/loss"],
    "messages": [
        message(normexp.train, "norm=centre"),
        message(normexp.train, "norm=never"),
        message(normexp.train, "model=wide", "model.units=0"),
        message(normexp.sweep, "norm=center,bn"),
        message(normexp.register, norm=replace(center, name="bn")),
        message(normexp.register, norm=replace(center, name="A b")),
        message(normexp.register, norm=replace(center, name="short", config=NoDefault)),
        message(normexp.register, norm=NoDefault),
        message(normexp.register, probe=NoDefault),
        message(normexp.register, probe=type("Drift", (Probe,), {})),
        message(normexp.train, "activation=cubes"),
        message(normexp.sweep, "activation=cube,relu"),
        message(normexp.register, activation=Activation("relu", lambda site: Cube())),
        message(normexp.register, activation=Cube),
        message(normexp.train, "activation=cube", "weight=sws", "norm=none"),
    ],
}))
"""


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registered")
    files = {
        path: text.replace("units: int = number(minimum=1)", "units: int = number(minimum=1, default=7)")
        for path, text in FILES.items()
    }
    (folder / "script.py").write_text(f"FILES = {files!r}\n{SCRIPT}")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_registered_components_train(registered):
    folder, seen = registered
    assert {"Centre", "Linear"} <= {*seen["modules"]}
    assert seen["config"] == [1e-5, 7, True]
    assert seen["metrics"] == [True, False]
    name, std = seen["cube"]
    assert name == "Cube"
    assert std == pytest.approx(0.5 / 400**0.5, rel=0.02)
    assert seen["data"] == [180, 1, 6, 6]
    stored = read_config(folder / "runs/own")
    assert [stored[group]["name"] for group in ("norm", "model", "data")] == ["center", "wide", "stripes"]


def test_they_get_the_checks_of_the_shipped_ones(registered):
    parts = [
        "Did you mean center?",
        "norm=never can't work in layer conv1 of model=cnn: it never works. Use norm=none.",
        "model.units must be an integer >= 1.",
        "in this process only",
        "norm=bn exists already",
        "its name is A b, but a name has",
        "norm.scale of norm=short needs a default",
        "must be a normexp.norms.base.Norm",
        "must be a subclass of normexp.probes.base.Probe",
        "probe.drift exists already",
        "Did you mean cube?",
        "in this process only",
        "activation=relu exists already",
        "must be a normexp.models.activations.Activation",
        "the standard deviation of activation=cube, which it divides by, is not known",
    ]
    for part, message in zip(parts, registered[1]["messages"], strict=True):
        assert message is not None, part
        assert part in message


@pytest.mark.long
def test_other_processes_show_their_runs_but_do_not_import_them(registered, monkeypatch, capsys):
    monkeypatch.chdir(registered[0])
    assert main(["report", "runs/own"]) == 0
    assert "center" in capsys.readouterr().out
    assert main(["resume", "runs/own", "steps=9"]) == 2
    assert "model=wide: model is one of" in capsys.readouterr().err


def test_they_do_not_change_other_runs(registered, tmp_path):
    import normexp

    run = normexp.train("model=mlp", steps=2, seed=1, quiet=True)
    assert run.metrics["val/loss"] == registered[1]["same"]
