"""`describe` against the network itself."""

import pytest
import torch

from normexp.cli import main
from normexp.models import layers
from normexp.models.build import build_model
from normexp.models.describe import describe, warnings
from normexp.models.layer import named_layers
from tests.conftest import compose

NETS = [
    ["model=cnn", "norm=gn"],
    ["model=cnn", "norm=in", "norm.position=post", "dropout=0.1"],
    ["model=cnn", "model.head=fc", "norm=ln", "norm.affine=false"],
    ["model=mlp", "norm=bn"],
    ["model=resnet", "model.depth=8", "model.block=preact", "norm=bn"],
    ["model=resnet", "model.depth=8", "norm=none"],
]


@pytest.mark.parametrize("overrides", NETS, ids=" ".join)
def test_the_table_is_that_of_the_network(overrides):
    config = compose(*overrides)
    layers = named_layers(build_model(config))
    rows = describe(config)
    assert [row.name for row in rows] == list(layers)
    for row, layer in zip(rows, layers.values(), strict=True):
        parts = dict(layer.named_children())
        assert len(row.parts) == len(parts)
        counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
        assert (row.parameters, row.norm_parameters) == (counts.get("weight", 0), counts.get("norm", 0))
        assert bool(row.statistics) == ("norm" in parts)


def test_statistics_in_words():
    rows = {row.name: row for row in describe(compose("norm=bn", "batch_size=32"))}
    assert rows["conv2"].statistics == "B,H,W: 32*4*4 = 512 values, 32 statistics"
    rows = {row.name: row for row in describe(compose("norm=gn", "batch_size=32"))}
    assert rows["conv2"].statistics == "C/G,H,W: 8*4*4 = 128 values, 128 statistics"
    rows = {row.name: row for row in describe(compose("norm=gn", "model=mlp"))}
    assert rows["fc1"].statistics == "F/G: 25 values, 256 statistics"


def test_warnings_where_statistics_are_weak_and_where_a_choice_does_nothing():
    assert warnings(compose(), {}) == []
    (weak,) = warnings(compose("model=mlp", "batch_size=4"), {})
    assert "fc1: 4" in weak
    assert warnings(compose("norm=none"), {"norm": {"name": "none", "position": "post"}}) == [
        "norm.position=post has no effect with norm=none."
    ]
    assert "head=gap" in warnings(compose(), {"model": {"fc_width": 7}})[0]


def test_what_is_trained(capsys):
    """Without the thresholds of tlu, which the table counts with the norms."""
    number = sum(plan.outputs[0] for plan in layers(compose()) if plan.site("norm")) * 2
    for trainable, which in (
        ("norm", f"the {number} parameters of the norms"),
        ("random", f"{number} weights at random"),
    ):
        assert main(["describe", "activation=tlu", f"trainable={trainable}"]) == 0
        assert f"trained: {which}" in capsys.readouterr().out


def test_the_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["describe", "norm=gn", "norm.groups=2"]) == 0
    printed = capsys.readouterr().out
    assert "C/G,H,W" in printed
    parameters = sum(p.numel() for p in build_model(compose("norm=gn", "norm.groups=2")).parameters())
    assert f"{parameters:,} parameters" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert main(["describe", "norm=in", "model=mlp"]) == 2
    assert main(["describe", "norm.groups=2"]) == 2
    assert "norm.groups is a key of norm=gn and norm=evonorm only" in capsys.readouterr().err
    assert main(["describe", "-m", "lr=1"]) == 2
    assert main(["describe", "norm=bn,ln"]) == 2
    assert "norm=bn,ln: describe shows one network at a time" in capsys.readouterr().err


def test_it_needs_no_torch():
    import subprocess
    import sys

    code = "import sys; from normexp.cli import main; main(['describe']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert torch.__version__  # while this process has it
