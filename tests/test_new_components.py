"""A new norm, model, data set or probe is one Python file and one yaml file (of a probe, a line): no other file changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from normexp.rundir import read_metrics
from tests.conftest import ROOT

FILES = {
    "normexp/norms/center.py": '''
"""Subtracts each channel's mean over the batch."""

from normexp.config import NormConfig
from normexp.norms.base import Norm


def build(config, site):
    from torch import nn

    class Centre(nn.Module):
        def forward(self, x):
            return x - x.mean([0, *range(2, x.ndim)], keepdim=True)

    return Centre()


ENTRY = Norm(
    name="center", title="centering", config=NormConfig, axes=("B,H,W", "B"),
    problem=lambda config, site, batch_size: None, build=build,
)
''',
    "configs/norm/center.yaml": 'name: center\nposition: pre\nlayers: ["*"]\naffine: false\neps: 1.0e-5\n',
    "normexp/models/wide.py": '''
"""One wide hidden layer."""

from collections import OrderedDict
from dataclasses import dataclass

from normexp.config import ModelConfig, number
from normexp.models.base import Model


@dataclass(frozen=True, kw_only=True)
class Wide(ModelConfig):
    units: int = number(minimum=1)


def layers(config, plan, image, classes):
    hidden = plan.linear("fc1", image, config.units, *plan.hidden)
    return [hidden, plan.linear("head", hidden.outputs, classes, "weight")]


def wire(config, layers):
    from torch import nn

    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), **layers))


ENTRY = Model(name="wide", title="one wide layer", config=Wide, layers=layers, wire=wire)
''',
    "configs/model/wide.yaml": "name: wide\nunits: 7  # hidden units\n",
    "normexp/data/stripes.py": '''
"""Horizontal and vertical stripes."""

from normexp.config import DataConfig
from normexp.data.base import Arrays, DataSet


def load(config, folder):
    import numpy as np

    labels = np.arange(300, dtype=np.int64) % 2
    rows = np.broadcast_to(np.arange(6) % 2 * 250, (6, 6))
    images = np.stack([rows if label else rows.T for label in labels]).astype(np.uint8)[:, None]
    return Arrays(images[:200], labels[:200], images[200:], labels[200:], scale=255)


ENTRY = DataSet(
    name="stripes", title="stripes", config=DataConfig, shape=(1, 6, 6), classes=2, train_samples=200, test_samples=100,
    epochs=5, pad=1, load=load,
)
''',
    "configs/data/stripes.yaml": (ROOT / "configs/data/digits.yaml")
    .read_text()
    .replace("name: digits", "name: stripes"),
    "normexp/probes/largest.py": '''
"""The largest weight of each layer."""

from normexp.probes.base import Probe


class Largest(Probe):
    """largest/LAYER: the largest absolute weight, before the step."""

    def before_forward(self, recorder):
        for name, layer in self.layers.items():
            if layer.weight is not None:
                recorder.record(f"largest/{name}", layer.weight.weight.detach().abs().max())


ENTRY = Largest
''',
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project with the new files, and a line in configs/probe/default.yaml."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("normexp", "configs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for path, text in FILES.items():
        assert not (root / path).exists()
        (root / path).write_text(text.lstrip())
    with (root / "configs/probe/default.yaml").open("a") as file:
        file.write("largest: true  # the largest weight of each layer\n")
    return root


def run(copy, *words):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "normexp", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(copy)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_new_components_train(copy):
    run(copy, "train", "norm=center", "model=wide", "data=stripes", "epochs=5", "name=new")
    entries = read_metrics(Path("runs/new"))
    assert entries[-1]["test/accuracy"] == 1
    assert entries[-1]["largest/fc1"] > 0


def test_new_components_are_named_wherever_the_others_are(copy):
    text = run(copy, "train", "--help")
    assert all(name in text for name in ("center", "wide", "stripes"))
    assert "probe.largest=" in run(copy, "completion", "query", "normexp train probe.la")
    assert "fc1" in run(copy, "describe", "model=wide", "norm=center", "data=stripes")
    assert "center" in run(copy, "bench", "model=wide", "norm=center", "data=stripes", "batch_size=4", "--repeats=2")


@pytest.mark.long
def test_a_new_norm_gets_a_color_and_a_row_in_a_report(copy):
    run(copy, "train", "-m", "norm=none,center", "model=wide", "data=stripes", "steps=3", "jobs=1", "name=sweep")
    assert "center" in run(copy, "report", "runs/sweep", "--figures=figures")
    assert any("center" in path.read_text() for path in Path("figures").glob("*.csv"))
