"""norm.zero_last: residual blocks start as the identity."""

import pytest
import torch

from normexp.config import ConfigError
from normexp.models.build import build_model
from normexp.models.layer import Residual, named_layers
from tests.conftest import compose

RESNET = ["model=resnet", "model.depth=8", "model.width=8", "norm.zero_last=true"]


@pytest.mark.parametrize("norm", ["bn", "ln", "gn", "rms", "dyt", "evonorm"])
@pytest.mark.parametrize("position", ["pre", "post", "input"])
def test_every_branch_starts_at_zero_and_learns(norm, position):
    chosen = ["norm.layers=[block*]"] if position == "input" else []  # the image has one channel
    model = build_model(compose(*RESNET, f"norm={norm}", f"norm.position={position}", *chosen))
    blocks = {name: module for name, module in model.named_modules() if isinstance(module, Residual)}
    outputs = {}
    for name, block in blocks.items():
        block.conv2.register_forward_hook(lambda _, args, output, name=name: outputs.update({name: output}))
    logits = model(torch.randn(16, 1, 8, 8))
    for name, output in outputs.items():
        bias = named_layers(model)[f"{name}.conv2"].get_submodule("weight").bias
        # Before the last convolution, gamma = 0 leaves its bias, which default initialization draws.
        assert (output - (0 if position == "pre" else bias.view(1, -1, 1, 1))).abs().max() == 0
    zeros = {name for name, p in model.named_parameters() if name.endswith("norm.weight") and not p.any()}
    assert len(zeros) == len(blocks) == 3
    torch.nn.functional.cross_entropy(logits, torch.arange(16) % 10).backward()
    assert all(model.get_parameter(name).grad.any() for name in zeros)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["model=cnn", "norm.zero_last=true"],
            "norm.zero_last=true needs residual branches with a norm: use model=resnet",
        ),
        ([*RESNET, "norm.affine=false"], "needs a gamma that can start at 0"),
        ([*RESNET, "model.block=preact"], "layer block1.conv2: its norm precedes an activation"),
        ([*RESNET, "norm.layers=['*.conv1']"], "layer block1.conv1: its norm precedes an activation"),
    ],
)
def test_refused_where_it_can_not_work(overrides, sentence):
    with pytest.raises(ConfigError, match=sentence.replace(".", r"\.")):
        compose(*overrides)
