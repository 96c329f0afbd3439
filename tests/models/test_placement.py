"""Norms before weights and in some layers only, and the place of dropout."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normexp.bench.cases import plan_cases
from normexp.bench.measure import measure
from normexp.config import ConfigError
from normexp.models import layers
from normexp.models.build import build_model
from normexp.models.describe import describe, warnings
from normexp.models.layer import UnscaledDropout, named_layers
from normexp.norms.fold import fold
from tests.conftest import compose
from tests.probes.watcher import Watcher, images

RESNET = ["model=resnet", "model.depth=8", "model.width=4"]
PREACT = [*RESNET, "model.block=preact"]


def parts_of(*overrides):
    return {plan.name: plan.parts for plan in layers(compose(*overrides))}


def without_bias(*overrides):
    weights = {
        name: getattr(layer, "weight", None) for name, layer in named_layers(build_model(compose(*overrides))).items()
    }
    return {name for name, weight in weights.items() if weight is not None and weight.bias is None}


def test_the_norm_in_some_layers_and_the_biases_of_the_others():
    parts = parts_of(*RESNET, "norm.layers=[conv1,block2.*]")
    with_norm = {"conv1", "block2.conv1", "block2.conv2", "block2.shortcut"}
    assert {name for name, those in parts.items() if "norm" in those} == with_norm
    assert without_bias(*RESNET, "norm.layers=[conv1,block2.*]") == with_norm
    assert not {"norm"} & {part for those in parts_of("norm.layers=[]").values() for part in those}


def test_a_preact_block_keeps_the_bias_that_no_norm_cancels():
    assert "block1.conv1" in without_bias(*PREACT)
    assert "block1.conv1" in without_bias(*PREACT, "norm.layers=[block1.conv2]")
    assert "block1.conv1" not in without_bias(*PREACT, "norm.layers=[block1.conv1]")
    # Dropout in front of the norm drops the bias with the rest: it is cancelled no longer.
    assert "block1.conv1" not in without_bias(*PREACT, "dropout=0.1", "dropout_at=norm")
    assert without_bias("dropout=0.1", "dropout_at=norm") == set()
    assert without_bias("dropout=0.1", "dropout_at=norm", "dropout_layers=[conv1]") == {"conv2", "conv3"}


def test_a_norm_can_be_where_it_works():
    parts = parts_of("norm=in", "model.head=fc", "norm.layers=[conv*]")
    assert "norm" in parts["conv1"]
    assert "norm" not in parts["fc1"]


@pytest.mark.parametrize(
    ("overrides", "places"),
    [
        (["model=mlp"], {"fc2": "weight norm activation dropout"}),
        (["model=mlp", "norm.position=input"], {"fc2": "norm weight activation dropout"}),
        (["model=mlp", "dropout_at=norm"], {"fc2": "weight dropout norm activation"}),
        (["model=mlp", "dropout_at=norm", "norm=none"], {"fc2": "weight dropout activation"}),
        (["model=mlp", "dropout_at=norm", "norm.layers=[fc1]"], {"fc2": "weight dropout activation"}),
        (["dropout_at=norm", "norm.position=post"], {"conv2": "weight activation dropout norm"}),
        (["dropout_at=norm", "norm.position=input"], {"conv2": "dropout norm weight activation"}),
        (
            ["dropout_layers=[conv1,conv3]"],
            {"conv1": "weight norm activation dropout", "conv2": "weight norm activation"},
        ),
        (
            [*RESNET, "dropout_at=norm"],
            {"block1.conv1": "weight dropout norm activation", "block1.conv2": "weight norm"},
        ),
        (
            [*PREACT, "dropout_at=norm"],
            {"block1.conv1": "norm activation weight", "block1.conv2": "dropout norm activation weight"},
        ),
        (
            [*RESNET, "dropout_layers=[block2.*]"],
            {"block2.conv1": "weight norm activation dropout", "block1.conv1": "weight norm activation"},
        ),
    ],
)
def test_where_dropout_is(overrides, places):
    parts = parts_of(*overrides, "dropout=0.5")
    assert {name: " ".join(parts[name]) for name in places} == places


def test_unscaled_dropout_keeps_what_it_keeps_as_it_is():
    x = torch.randn(50, 3, 4, 5).to(memory_format=torch.channels_last)
    torch.manual_seed(3)
    scaled = F.dropout(x, 0.3)
    torch.manual_seed(3)
    layer = UnscaledDropout(0.3)
    assert torch.equal(layer(x), torch.where(scaled != 0, x, 0))
    assert layer.eval()(x) is x
    kinds = {type(m) for m in build_model(compose("dropout=0.3")).modules()}
    assert nn.Dropout in kinds
    assert UnscaledDropout not in kinds
    assert any(
        type(m) is UnscaledDropout for m in build_model(compose("dropout=0.3", "dropout_scaled=false")).modules()
    )


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["norm.layers=[convv2]"], "norm.layers: no layer of model=cnn that can have a norm matches convv2; choose from conv1, "),
        (["norm.layers=[convv2]"], "Did you mean conv2?"),
        (["norm.layers=[head]", "norm=none"], "choose from conv1, conv2, conv3."),
        ([*RESNET, "norm.layers=[*out]"], "that can have a norm matches *out"),
        (["model=mlp", "model.widths=[]", "norm.layers=[fc1]"], "matches fc1; it has no such layers."),
        (["dropout_layers=[head]"], "dropout_layers: no layer of model=cnn that can have dropout matches head"),
        ([*RESNET, "dropout_layers=[conv1]"], "choose from block1.conv1, block2.conv1, block3.conv1."),
        ([*PREACT, "norm.position=input"], "Use norm.position=pre or post, or model.block=original."),
        (["norm=gn", "norm.position=input"], "layer conv1 of model=cnn: its 1 channels are not divisible by 4 groups"),
        (["dropout_at=front"], "dropout_at is one of end, norm"),
        (["noise=-0.1"], "noise must be a number >= 0"),
    ],
)  # fmt: skip
def test_what_names_no_layer_or_makes_no_sense_is_refused(overrides, sentence):
    with pytest.raises(ConfigError) as caught:
        compose(*overrides)
    assert sentence in str(caught.value)


def test_a_network_without_hidden_layers():
    assert [*parts_of("model=mlp", "model.widths=[]")] == ["head"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["norm.position=input"],
        ["model=mlp", "norm=gn", "norm.position=input", "noise=0.5", "dropout=0.1", "dropout_at=norm"],
        [*RESNET, "norm.position=input", "norm.layers=[conv1,block*]", "noise=0.5"],
        [*PREACT, "norm.layers=[final]", "dropout=0.1", "dropout_layers=[block1.*]"],
    ],
    ids=" ".join,
)
def test_the_table_and_the_probes_follow(overrides):
    config = compose(*overrides, "probe=full", "probe.every=1")
    net = build_model(config)
    built = named_layers(net)
    for row in describe(config):
        parts = dict(built[row.name].named_children())
        assert len(row.parts) == len(parts)
        assert bool(row.statistics) == ("norm" in parts)
        assert row.norm_parameters == sum(p.numel() for p in parts["norm"].parameters()) if "norm" in parts else True
    found = Watcher(net, config)(*images())
    with_norm = {name for name, layer in built.items() if hasattr(layer, "norm")}
    assert {tag[6:] for tag in found.histograms if tag.startswith("gamma/")} == with_norm
    batch_norms = with_norm if config.norm.name == "bn" else set()
    assert {tag[20:] for tag in found.scalars if tag.startswith("batch_mean_distance/")} == batch_norms
    # With noise between them, or a weight, what leaves the norm is not what enters the activation.
    beside = config.norm.position == "input" or config.noise > 0
    assert {tag[9:] for tag in found.histograms if tag.startswith("norm_out/")} == (with_norm if beside else set())


def test_norms_before_the_weights_normalize_the_data_first():
    config = compose("norm.position=input", "probe=full", "probe.every=1")
    inputs, labels = images(count=200)
    found = Watcher(build_model(config), config)(inputs * 5 + 3, labels)
    assert found.scalars["norm_out/conv1/mean"] == pytest.approx(0, abs=0.05)
    assert found.scalars["norm_out/conv1/std"] == pytest.approx(1, abs=0.05)


def test_only_norms_directly_after_a_weight_are_folded():
    config = compose("norm.layers=[conv2]", "noise=0.5")
    net = build_model(config).double()
    for _ in range(3):
        net(images(dtype=torch.float64)[0] * 2 + 1)
    folded = fold(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x, _ = images(dtype=torch.float64)
    torch.testing.assert_close(folded(x), net.eval()(x), rtol=0, atol=1e-10)
    for overrides in (["norm.position=input"], ["dropout=0.1", "dropout_at=norm"], ["norm.layers=[]"]):
        with pytest.raises(ValueError, match="no batch norm"):
            fold(build_model(compose(*overrides)))


def test_parameters_of_norms_before_the_weights():
    asked = ["data=digits", "batch_size=8", "threads=1", "norm=bn,gn", "norm.position=input"]
    (case,), skipped = plan_cases([*asked, "model=cnn", "model.channels=[4]"])
    assert [each.norm for each in skipped] == ["gn"]  # its groups do not divide the image's one channel
    costs = measure(case, repeats=1).costs
    assert costs["bn"].seconds["forward"][0] > 0
    assert costs["bn"].seconds["folded"] == []
    _, skipped = plan_cases([*asked, "norm.layers=[conv2]", "model=cnn", "model.channels=[4,4]"])
    assert skipped == []


def test_notes_on_what_has_no_effect_and_on_what_can_not_learn():
    asked = {"norm": {"name": "none", "position": "post"}}
    assert warnings(compose("norm=none", "norm.position=post", "noise=0.5"), asked) == []
    assert warnings(compose("norm=none", "norm.position=post", "dropout=0.1", "dropout_at=norm"), asked) == []
    assert warnings(compose("dropout_at=norm"), {"dropout_at": "norm"}) == [
        "dropout_at=norm has no effect with dropout=0."
    ]
    assert "tell images apart" in warnings(compose("norm=in", "norm.position=post"), {})[-1]
    assert warnings(compose("norm=in", "norm.position=post", "norm.layers=[conv1,conv2]"), {}) == []
    assert warnings(compose("norm=in", "norm.position=post", "model=mlp", "model.widths=[]"), {}) == []


@pytest.mark.parametrize("model", [["model=cnn"], RESNET, PREACT])
@pytest.mark.parametrize("position", ["pre", "post", "input"])
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_the_note_on_instance_norm_tells_whether_images_look_alike(model, position, activation):
    """Their channels' means, which global average pooling keeps, are all those of beta."""
    if (model, position) == (PREACT, "input"):
        return
    config = compose(*model, "norm=in", f"norm.position={position}", f"activation={activation}")
    logits = build_model(config).double()(torch.randn(4, 1, 8, 8, dtype=torch.float64))
    alike = bool((logits - logits[:1]).abs().max() < 1e-9)
    assert any("tell images apart" in note for note in warnings(config, {})) == alike
