"""Which modules of foreign networks are layers, and where their channels are."""

import contextlib

import pytest
import torch
from torch import nn

from normexp.data.download import import_torchvision
from normexp.watching.layers import ChannelsFirst, channel_axis, find_layers, kind_of


def kinds(model):
    return {name: layer.kind for name, layer in find_layers(model).items()}


@pytest.mark.parametrize("kind", [nn.Softmax, nn.GLU, nn.Dropout, nn.MaxPool2d, nn.Flatten, nn.Identity])
def test_modules_that_are_no_layers(kind):
    assert kind_of(kind(2) if kind is nn.MaxPool2d else kind()) is None


def test_every_elementwise_activation_of_torch():
    names = [
        name
        for name in nn.modules.activation.__all__
        if "oftm" not in name and name not in ("GLU", "MultiheadAttention")
    ]
    arguments = {"Threshold": (0.1, 0.0)}
    assert {name: kind_of(getattr(nn, name)(*arguments.get(name, ()))) for name in names} == dict.fromkeys(
        names, "activation"
    )


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Linear(4, 5), (2, 3, 5), 2),
        (nn.Conv2d(4, 5, 1), (2, 5, 3, 3), 1),
        (nn.Conv1d(4, 5, 1), (2, 5, 3), 1),
        (nn.BatchNorm1d(5), (2, 5, 3), 1),
        (nn.GroupNorm(1, 5), (2, 5, 3, 3), 1),
        (nn.LayerNorm(5), (2, 3, 3, 5), 3),
        (nn.LayerNorm([5, 3, 3]), (2, 5, 3, 3), 1),
        (nn.RMSNorm(5), (2, 3, 5), 2),
        (nn.Embedding(4, 5), (2, 3, 5), 2),
    ],
)
def test_channel_axes(module, shape, axis):
    assert channel_axis(module) % len(shape) == axis
    values = torch.arange(torch.tensor(shape).prod()).reshape(shape)
    layers = find_layers(nn.Sequential(module, nn.ReLU()))
    view = ChannelsFirst(layers)
    view.called(module, values)
    expected = values.movedim(axis, 1)
    assert torch.equal(view(module, values), expected)
    assert torch.equal(view(layers["1"].layer, values), expected)  # the activation that follows


def test_an_activation_after_a_change_of_layout():
    conv, relu = nn.Conv2d(1, 6, 1), nn.ReLU()
    view = ChannelsFirst(find_layers(nn.Sequential(conv, relu)))
    view.called(conv, torch.zeros(2, 6, 4, 4))
    assert view(relu, torch.zeros(2, 16, 6)).shape == (2, 6, 16)  # flattened to tokens
    assert view(relu, torch.zeros(2, 6)).shape == (2, 6)  # averaged
    assert view(relu, torch.zeros(2)).shape == (1, 2)  # without a batch
    assert view(relu, torch.zeros(())).shape == (1, 1)


def test_names_of_modules():
    """Slashes separate the parts of tags; a module with two names has the first."""
    model = nn.Module()
    model.add_module("a/b", nn.ReLU())
    model.add_module("a_b", nn.ReLU())
    model.again = model.a_b
    assert list(find_layers(model)) == ["a_b", "a_b_"]
    assert list(find_layers(nn.ReLU())) == ["ReLU"]


@pytest.mark.filterwarnings("ignore")
def test_layers_of_timm():
    with contextlib.suppress(ImportError):
        import_torchvision()
    timm = pytest.importorskip("timm", reason="needs timm", exc_type=ImportError)
    found = find_layers(timm.create_model("convnext_atto"))
    assert found["stages.0.blocks.0.norm"].kind == "norm"
    assert found["stages.0.blocks.0.mlp.act"].kind == "activation"
    assert channel_axis(found["stem.1"].layer) == 1  # LayerNorm2d
    net = kinds(timm.create_model("efficientnet_b0"))
    assert (net["conv_stem"], net["bn1"], net["bn1.act"]) == ("weight", "norm", "activation")


@pytest.mark.filterwarnings("ignore")
def test_layers_of_transformers():
    transformers = pytest.importorskip("transformers", reason="needs transformers", exc_type=ImportError)
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 50,
    }
    bert = kinds(transformers.BertModel(transformers.BertConfig(**small)))
    assert bert["encoder.layer.0.intermediate.intermediate_act_fn"] == "activation"
    assert bert["encoder.layer.0.output.LayerNorm"] == "norm"
    llama = kinds(transformers.LlamaModel(transformers.LlamaConfig(**small, num_key_value_heads=2)))
    assert (llama["layers.0.mlp.act_fn"], llama["layers.0.input_layernorm"]) == ("activation", "norm")
    gpt2 = kinds(transformers.GPT2Model(transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50)))
    assert (gpt2["h.0.mlp.c_fc"], gpt2["h.0.mlp.act"]) == ("weight", "activation")
