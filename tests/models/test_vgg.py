"""VGG against torchvision's, a count from the paper's table, and small images."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from normexp.config import ConfigError
from normexp.models import layers
from normexp.models.build import build_model
from normexp.models.describe import describe, warnings
from normexp.models.layer import named_layers
from tests.conftest import compose

CONVOLUTIONS = {  # Simonyan and Zisserman 2015, table 1
    11: "64 128 256 256 512 512 512 512",
    13: "64 64 128 128 256 256 512 512 512 512",
    16: "64 64 128 128 256 256 256 512 512 512 512 512 512",
    19: "64 64 128 128 256 256 256 256 512 512 512 512 512 512 512 512",
}


@pytest.mark.parametrize("depth", CONVOLUTIONS)
def test_it_has_the_parameters_of_the_papers_table(depth):
    """Weight, bias, gamma and beta of each convolution, and a linear classifier of 512 values."""
    channels = [3, *map(int, CONVOLUTIONS[depth].split())]
    weights = sum(9 * a * b for a, b in pairwise(channels)) + 10 * 512 + 10
    for norm, per_channel in (("none", 1), ("bn", 2), ("gn", 3)):  # batch norm cancels the bias
        rows = describe(compose("model=vgg", "model.width=64", f"model.depth={depth}", f"norm={norm}", "data=cifar10"))
        assert sum(row.parameters + row.norm_parameters for row in rows) == weights + per_channel * sum(channels[1:])


@pytest.mark.parametrize(("depth", "letter"), [(11, "A"), (13, "B"), (16, "D"), (19, "E")])
@pytest.mark.parametrize("norm", ["none", "bn"])
def test_features_are_torchvisions(depth, letter, norm, monkeypatch):
    from normexp.data.download import import_torchvision

    import_torchvision()
    from torchvision.models.vgg import cfgs, make_layers

    narrow = [size if size == "M" else size // 16 for size in cfgs[letter]]
    theirs = make_layers(narrow, batch_norm=norm == "bn").double()
    ours = build_model(compose("model=vgg", f"model.depth={depth}", "model.width=4", f"norm={norm}", "data=cifar10"))
    *features, head = named_layers(ours.double()).values()
    weights = [module for module in theirs if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    mine = [part for layer in features for part in layer if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    for module, copy in zip(weights, mine, strict=True):
        module.weight.data, module.bias.data = copy.weight.data, torch.zeros(len(copy.weight)).double()
        if copy.bias is not None:
            module.bias.data = copy.bias.data
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(x), head(theirs(x).flatten(1)), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.eval()(x), head(theirs.eval()(x).flatten(1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("data", "sides"), [("cifar10", "32 16 8 4 2"), ("mnist", "28 14 7 3 3"), ("digits", "8 4 2 2 2")]
)
@pytest.mark.parametrize("head", ["gap", "fc"])
def test_every_convolution_sees_a_map_and_the_last_pool_leaves_a_pixel(data, sides, head):
    config = compose("model=vgg", "model.depth=13", "model.width=4", f"model.head={head}", f"data={data}", "norm=none")
    plans = layers(config)
    convolutions = [plan for plan in plans if plan.kernel]
    assert [plan.outputs[1:] for plan in convolutions[::2]] == [(int(side), int(side)) for side in sides.split()]
    after = [plan for plan in plans if not plan.kernel]
    assert after[0].inputs == (8 * 4,)
    assert [plan.name for plan in after] == (["head"] if head == "gap" else ["fc1", "fc2", "head"])
    pools = [module for module in build_model(config).modules() if isinstance(module, nn.MaxPool2d)]
    assert len(pools) == len({plan.outputs[1:] for plan in convolutions})  # one after each size


def test_a_pool_keeps_images_apart_that_instance_norm_makes_equal_on_average():
    """Unlike the average of a cnn, which the warning is about."""
    config = compose("model=vgg", "model.width=4", "norm=in", "norm.position=post", "data=cifar10")
    assert not any("apart" in message for message in warnings(config, {}))
    logits = build_model(config)(torch.randn(4, 3, 32, 32))
    assert logits.std(0).min() > 1e-3
    cnn = compose("norm=in", "norm.position=post", "data=cifar10")
    assert any("apart" in message for message in warnings(cnn, {}))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model.depth=12"], "model.depth=12: the depth of a vgg must be one of 11, 13, 16, 19; use 11."),
        (["model.depth=100"], "use 19."),
        (["norm=in", "model.head=fc"], "layer fc1"),
        (["norm=gn", "norm.groups=32"], "layer conv1 of model=vgg: its 16 channels are not divisible by 32 groups"),
        (["norm=bn", "norm.zero_last=true"], "needs residual branches"),
    ],
)
def test_what_can_not_work_is_refused(overrides, sentence):
    with pytest.raises(ConfigError) as caught:
        compose("model=vgg", *overrides)
    assert sentence in str(caught.value)
