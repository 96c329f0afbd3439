"""Batch norm folded into the preceding layer computes the same function."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.data import DATA
from normexp.models.build import build_model
from normexp.norms.fold import fold, foldable
from tests.conftest import compose

SMALL = ["norm=bn", "model.width=4", "batch_size=4"]
NETS = [
    (["model=mlp", *SMALL], 0),
    (["model=mlp", *SMALL, "norm.affine=false"], 0),
    (["model=cnn", "model.channels=[4,6]", "model.head=fc", "norm=bn"], 0),
    (["model=resnet", "model.depth=8", *SMALL, "dropout=0.3"], 0),
    (["model=resnet", "model.depth=8", *SMALL, "norm.affine=false"], 0),
    # The first norm of each block reads what a shortcut reads too, `final` what an addition has left.
    (["model=resnet", "model.depth=8", "model.block=preact", *SMALL], 4),
]


def with_statistics(model: nn.Module) -> nn.Module:
    """The same in float64, with batch norms as after some training, none of them near the identity."""
    torch.manual_seed(1)
    for norm in (m for m in model.modules() if isinstance(m, _BatchNorm)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 5)
        if norm.affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return model.double().to(memory_format=torch.channels_last)


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


@pytest.mark.parametrize(("overrides", "left"), NETS)
def test_a_folded_network_computes_the_same(overrides, left):
    config = compose(*overrides)
    model = with_statistics(build_model(config))
    x = torch.randn(3, *DATA[config.data.name].shape, dtype=torch.float64)
    assert model.training
    before = copy.deepcopy(model.state_dict())
    folded = fold(model)
    assert norms(folded) == left < norms(model)
    assert not folded.training
    torch.testing.assert_close(folded(x), model.eval()(x), rtol=0, atol=1e-10)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("overrides", [["norm=bn", "norm.position=post"], ["norm=ln"], ["norm=none"]])
def test_where_there_is_nothing_to_fold(overrides):
    with pytest.raises(ValueError, match="no batch norm"):
        fold(build_model(compose(*overrides)))


@settings(max_examples=40, deadline=None)
@given(
    features=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.sampled_from([None, 1, 3]),
    bias=st.booleans(),
    affine=st.booleans(),
    eps=st.floats(1e-12, 1),
    seed=st.integers(0, 1000),
)
def test_one_layer(*, features, kernel, bias, affine, eps, seed):
    torch.manual_seed(seed)
    inputs, outputs = features
    if kernel is None:
        layer = nn.Sequential(nn.Linear(inputs, outputs, bias), nn.BatchNorm1d(outputs, eps=eps, affine=affine))
    else:
        conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        layer = nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=eps, affine=affine))
    layer = with_statistics(layer).eval()
    x = torch.randn(2, inputs, *([] if kernel is None else [4, 3]), dtype=torch.float64)
    folded = fold(layer)
    assert len(folded) == 1
    torch.testing.assert_close(folded(x), layer(x), rtol=0, atol=1e-10)


class Twice(nn.Module):
    """A convolution that a norm and another layer read, and one that only a norm reads."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.own, self.last = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.shared(x)
        return self.last(self.own(self.norm(y) + y))


def test_outputs_with_other_readers_are_not_folded():
    model = with_statistics(Twice()).eval()
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    folded = fold(model)
    assert isinstance(folded.norm, nn.BatchNorm2d)
    assert isinstance(folded.last, nn.Identity)
    torch.testing.assert_close(folded(x), model(x), rtol=0, atol=1e-10)


class HalfNorm(nn.BatchNorm1d):
    """A user's subclass, which computes something else."""

    def forward(self, x):
        return super().forward(x) / 2


class Branching(nn.Module):
    """Control flow that depends on values, which can't be traced."""

    def __init__(self):
        super().__init__()
        self.weight, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.weight(x)) if x.sum() > 0 else x


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(3, 3), HalfNorm(3)), Branching()])
def test_what_is_not_known_to_be_the_same_is_not_folded(model):
    assert foldable(model) == []
    with pytest.raises(ValueError, match="no batch norm"):
        fold(model)
