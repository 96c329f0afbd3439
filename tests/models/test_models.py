"""Every model x norm x position against its plan, and against networks written out by hand."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.config import ConfigError
from normexp.data import DATA
from normexp.models import MODELS, layers
from normexp.models.activations import ACTIVATIONS
from normexp.models.build import build_model
from normexp.models.layer import StridedPointwise, named_layers
from normexp.norms import NORMS
from tests.conftest import MAPS_ONLY, compose

NOT_DEFINED = [("resnet-preact", "input"), ("vit", "post"), ("vit", "input"), ("rnn", "post"), ("rnn", "input")]
GRID = [
    (model, norm, position)
    for model, norm, position in product([*MODELS, "cnn-fc", "resnet-preact"], NORMS, ["pre", "post", "input"])
    if not (model in ("mlp", "cnn-fc", "rnn") and norm in MAPS_ONLY) and (model, position) not in NOT_DEFINED
]

WITH_EACH_ACTIVATION = ("none", "bn", "ln", "in", "gn")


def marks(norm, position, activation="relu"):
    """In `make test`, the norms that torch has are tested in all positions with relu, and bn in one with the other activations;
    the other norms in one position."""
    if activation != "relu":
        return () if (norm, position) == ("bn", "pre") else pytest.mark.slow
    return () if norm in WITH_EACH_ACTIVATION or position == "pre" else pytest.mark.long


POINTS = [pytest.param(*point, marks=marks(*point[1:])) for point in GRID]


def config_of(model: str, norm: str, position: str, *more: str):
    special = {
        "cnn-fc": ["model=cnn", "model.head=fc", "model.convs=2"],
        "resnet-preact": ["model=resnet", "model.block=preact", "model.depth=8", "model.width=8"],
        "resnet": ["model=resnet", "model.depth=8", "model.width=8"],
        "vgg": ["model=vgg", "model.width=8"],
        "rnn": ["model=rnn", "model.hidden=16", "model.layers=2", "model.cell=gru"],
        "vit": ["model=vit", "model.depth=2", "model.dim=16", "model.heads=2", "model.mlp=24", "model.pool=cls"],
    }
    chosen = special.get(model, [f"model={model}"])
    one_channel = {
        "gn": ["norm.groups=1"],
        "evonorm": ["norm.groups=1"],
        "iternorm": ["norm.group_size=1"],
    }  # of the image
    chosen = [*chosen, *one_channel.get(norm, [])] if position == "input" else chosen
    return compose(*chosen, f"norm={norm}", f"norm.position={position}", *more)


def images(config, batch: int = 6) -> Tensor:
    return torch.randn(batch, *DATA[config.data.name].shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("model", "norm", "position"), POINTS)
def test_shapes_and_parts_are_those_of_the_plan(model, norm, position):
    config = config_of(model, norm, position, "dropout=0.25")
    net = build_model(config)
    seen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    built = named_layers(net)
    for name, layer in built.items():
        layer.register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: (args[0].shape[1:], output.shape[1:])})
        )
    assert net(images(config)).shape == (6, 10)
    plans = layers(config)
    assert [plan.name for plan in plans] == list(seen) == list(built)
    for plan in plans:
        assert seen[plan.name] == (plan.inputs, plan.outputs)
        assert list(dict(built[plan.name].named_children())) == list(plan.parts)
    has_norm = [plan for plan in plans if plan.site("norm")]
    assert bool(has_norm) == (norm != "none")
    assert "norm" not in plans[-1].parts


@pytest.mark.parametrize(
    ("model", "norm", "position", "activation"),
    [
        pytest.param(*point, activation, marks=marks(*point[1:], activation))
        for point in GRID
        for activation in ACTIVATIONS
        if activation != "identity" and (point[1] in WITH_EACH_ACTIVATION or activation == "relu")
    ],
)
def test_one_step_moves_every_parameter(model, norm, position, activation):
    config = config_of(model, norm, position, f"activation={activation}", "dropout=0.1")
    net = build_model(config)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    F.cross_entropy(net(images(config, 8)), torch.arange(8)).backward()
    optimizer.step()
    for name, p in net.named_parameters():
        assert torch.isfinite(p).all(), name
        assert not torch.equal(p, before[name]), f"{name} got no gradient"


def unit(layer: nn.Module, x: Tensor, order: str) -> Tensor:
    """A layer written out: `order` names its parts, W P N A, and what the layer lacks is passed over."""
    parts = dict(layer.named_children())
    for letter in order:
        part = parts.pop({"W": "weight", "P": "position", "N": "norm", "A": "activation"}[letter], None)
        if part is not None:
            x = part(x)
    assert not parts, f"parts that the formula does not have: {list(parts)}"
    return x


def by_hand(net: nn.Module, model: str, position: str, x: Tensor) -> Tensor:
    """The formulas of the design, independent of how the network is wired."""
    layer = named_layers(net)
    whole = {"pre": "WNA", "post": "WAN", "input": "NWA"}[position]
    na = whole.replace("W", "")
    if model == "mlp":
        x = x.flatten(1)
        for i in (1, 2, 3):
            x = unit(layer[f"fc{i}"], x, whole)
    elif model.startswith("cnn"):
        for i in range(1, 7 if model == "cnn-fc" else 4):
            x = unit(layer[f"conv{i}"], x, whole)
        x = unit(layer["fc1"], x.flatten(1), whole) if model == "cnn-fc" else x.mean((2, 3))
    elif model == "vgg":
        for i in range(1, 9):
            x = unit(layer[f"conv{i}"], x, whole)
            x = F.max_pool2d(x, 2) if i in (1, 2, 8) else x  # of 8x8 images
        x = x.mean((2, 3))
    elif model == "vit":
        x = unit(layer["patch"], x, "WP")
        for i in (1, 2):
            y = unit(layer[f"block{i}.attn.norm"], x, "N")
            q, k, v = (unit(layer[f"block{i}.attn.{each}"], y, "W").unflatten(1, (2, 8)) for each in "qkv")
            scores = torch.einsum("bhdt,bhds->bhts", q, k) / 8**0.5
            y = torch.einsum("bhts,bhds->bhdt", scores.softmax(-1), v).flatten(1, 2)
            x = x + unit(layer[f"block{i}.attn.out"], y, "W")
            y = unit(layer[f"block{i}.mlp.fc1"], unit(layer[f"block{i}.mlp.norm"], x, "N"), "WA")
            x = x + unit(layer[f"block{i}.mlp.fc2"], y, "W")
        x = unit(layer["final"], x, "N")[:, :, 0]
    elif model == "resnet":
        x = unit(layer["conv1"], x, whole)
        for i in (1, 2, 3):
            second, out = {"pre": ("WN", "A"), "post": ("W", "AN"), "input": ("NW", "A")}[position]
            y = unit(layer[f"block{i}.conv2"], unit(layer[f"block{i}.conv1"], x, whole), second)
            short = unit(layer[f"block{i}.shortcut"], x, "NW" if position == "input" else "WN") if i > 1 else x
            x = unit(layer[f"block{i}.out"], y + short, out)
        x = x.mean((2, 3))
    else:
        x = unit(layer["conv1"], x, "W")
        for i in (1, 2, 3):
            shared = unit(layer[f"block{i}.preact"], x, na) if i > 1 else x
            y = unit(layer[f"block{i}.conv1"], shared, "W" if i > 1 else na + "W")
            y = unit(layer[f"block{i}.conv2"], y, na + "W")
            x = y + (unit(layer[f"block{i}.shortcut"], shared, "W") if i > 1 else x)
        x = unit(layer["final"], x, na).mean((2, 3))
    return unit(layer["head"], x, "W")


@pytest.mark.parametrize(("model", "norm", "position"), [p for p in POINTS if p.values[0] != "rnn"])
def test_computes_what_the_formulas_say(model, norm, position):
    config = config_of(model, norm, position, "activation=tanh")
    net = build_model(config).double()
    x = images(config).double()
    torch.testing.assert_close(net(x), by_hand(net, model, position, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("inputs", "outputs", "size"), [(1, 8, 8), (4, 8, 32), (6, 3, 7), (16, 32, 28)])
def test_a_strided_pointwise_convolution_is_torchs_on_channels_last_too(inputs, outputs, size):
    """Torch's own corrupts memory there; in the other memory format it serves as the reference."""
    ours = StridedPointwise(inputs, outputs, step=2, bias=True)
    theirs = nn.Conv2d(inputs, outputs, 1, stride=2).double()
    theirs.load_state_dict(ours.state_dict())
    ours = ours.to(memory_format=torch.channels_last)
    for _ in range(10):
        x = torch.randn(16, inputs, size, size).to(memory_format=torch.channels_last).requires_grad_()
        reference = x.detach().double().contiguous().requires_grad_()
        y, want = ours(x), theirs(reference)
        torch.testing.assert_close(y.double(), want, rtol=1e-4, atol=1e-5)
        y.sum().backward()
        want.sum().backward()
        torch.testing.assert_close(x.grad.double(), reference.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight.grad.double(), theirs.weight.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "overrides", [["model=resnet", "model.width=3"], ["model=resnet", "model.block=preact"], ["model.kernel=1"]]
)
def test_no_network_uses_the_convolution_that_corrupts_memory(overrides):
    net = build_model(compose(*overrides))
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert not any(m.kernel_size == (1, 1) and m.stride != (1, 1) for m in convolutions)
    assert sum(isinstance(m, StridedPointwise) for m in convolutions) == 2


@pytest.mark.parametrize("position", ["pre", "post"])
def test_dropout_comes_last_in_a_layer_and_inside_the_block(position):
    plans = {plan.name: plan.parts for plan in layers(config_of("mlp", "bn", position, "dropout=0.5"))}
    pair = ("norm", "activation") if position == "pre" else ("activation", "norm")
    assert plans["fc1"] == ("weight", *pair, "dropout")
    plans = {plan.name: plan.parts for plan in layers(config_of("resnet", "bn", position, "dropout=0.5"))}
    assert plans["block1.conv1"] == ("weight", *pair, "dropout")
    assert sum("dropout" in parts for parts in plans.values()) == 3
    plans = {plan.name: plan.parts for plan in layers(config_of("resnet-preact", "bn", position, "dropout=0.5"))}
    assert plans["block1.conv2"] == (*pair, "dropout", "weight")


@pytest.mark.parametrize(
    ("model", "norm", "position", "without_bias"),
    [
        ("cnn", "bn", "pre", {"conv1", "conv2", "conv3"}),
        ("cnn", "in", "pre", {"conv1", "conv2", "conv3"}),
        ("cnn", "ln", "pre", set()),
        ("cnn", "gn", "pre", set()),
        ("cnn", "none", "pre", set()),
        ("cnn", "bn", "post", set()),
        ("cnn", "bn", "input", set()),
        ("resnet", "bn", "input", set()),
        ("resnet-preact", "bn", "pre", {f"block{i}.conv1" for i in (1, 2, 3)}),
        ("resnet-preact", "bn", "post", set()),
    ],
)
def test_leaves_out_exactly_the_biases_that_a_norm_cancels(model, norm, position, without_bias):
    net = build_model(config_of(model, norm, position))
    weights = {name: layer.weight for name, layer in named_layers(net).items() if hasattr(layer, "weight")}
    assert {name for name, weight in weights.items() if weight.bias is None} == without_bias


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_resnets_have_the_published_number_of_parameters(depth, millions):
    """He et al. 2015, table 6, which counts shortcuts without parameters; the 1x1 convolutions add 0.003 million."""
    net = build_model(compose("model=resnet", f"model.depth={depth}", "data=cifar10"))
    count = sum(p.numel() for name, p in net.named_parameters() if "shortcut" not in name) / 1e6
    assert round(count, 1 if depth == 110 else 2) == millions
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) + 1 == depth


def test_resnet_agrees_with_torchvisions():
    """torchvision's ResNet, with the stem and stages of the CIFAR family, has the same shapes, and given the same
    weights, the same outputs."""
    from normexp.data.download import import_torchvision

    import_torchvision()
    from torchvision.models.resnet import BasicBlock, ResNet

    theirs = ResNet(BasicBlock, [3, 3, 3, 1], num_classes=10)
    theirs.inplanes = 16
    theirs.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    theirs.bn1, theirs.maxpool = nn.BatchNorm2d(16), nn.Identity()
    theirs.layer1 = theirs._make_layer(BasicBlock, 16, 3)
    theirs.layer2 = theirs._make_layer(BasicBlock, 32, 3, stride=2)
    theirs.layer3 = theirs._make_layer(BasicBlock, 64, 3, stride=2)
    theirs.layer4, theirs.fc = nn.Identity(), nn.Linear(64, 10)
    ours = build_model(compose("model=resnet", "data=cifar10"))
    # Both list, in each block, the two convolutions and then the shortcut; ours lists `shortcut` behind `conv2` too.
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_weights_whatever_the_norm():
    """So that a comparison of norms starts from the same place: layers draw from streams of their own."""
    for init in ("default", "kaiming"):
        nets = [build_model(compose(f"norm={norm}", f"init={init}")) for norm in NORMS]
        for net in nets[1:]:
            for mine, theirs in zip(named_layers(net).values(), named_layers(nets[0]).values(), strict=True):
                assert torch.equal(mine.weight.weight, theirs.weight.weight)
    other = build_model(compose("norm=none", "seed=1"))
    assert not torch.equal(other.conv1.weight.weight, nets[0].conv1.weight.weight)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model=resnet", "model.depth=21"], "use 20 or 26"),
        (["model.kernel=4"], "must be odd"),
        (["model.channels=[]"], "at least one stage"),
        (["norm=in", "model=mlp"], "layer fc1"),
        (["norm=in", "model.head=fc"], "layer fc1"),
        (["norm=in", "model.channels=[8,8,8,8]"], "layer conv4"),
        (["norm=gn", "norm.groups=32"], "layer conv1 of model=cnn: its 16 channels are not divisible by 32 groups"),
        (["norm=gn", "norm.groups=100", "model=mlp"], "can be 1, 2, 4, 5, 10, 20, 25, 50"),
        (["norm=bn", "batch_size=1", "model=mlp"], "batch_size=2"),
        (["norm=ln", "model=mlp", "model.width=1"], "wider"),
    ],
)
def test_what_can_not_work_is_refused_with_layer_and_remedy(overrides, sentence):
    with pytest.raises(ConfigError) as caught:
        compose(*overrides)
    assert sentence in str(caught.value)
