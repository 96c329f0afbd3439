"""Recurrent networks: sequences, random draws, probes of gates and refusals."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from normexp.config import ConfigError
from normexp.models import layers
from normexp.models.build import build_model
from normexp.models.describe import warnings
from normexp.models.layer import named_layers
from normexp.models.recurrent import Sequence
from tests.conftest import compose
from tests.models.test_rnn import GATES, SMALL, images, network, normalize
from tests.probes.watcher import ALL, Watcher
from tests.probes.watcher import images as watched_images


def test_input_sequences():
    x = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    rows = Sequence("rows", 4)(x)
    assert rows.shape == (2, 15, 4)
    assert rows[1, :, 2].tolist() == x[1, :, 2].flatten().tolist()
    pixels = Sequence("pixels", 20)(x)
    assert [pixels[1, :, t].tolist() for t in (0, 7, 19)] == [
        x[1, :, i, j].tolist() for i, j in ((0, 0), (1, 2), (3, 4))
    ]
    assert torch.equal(Sequence("pixels", 6)(torch.arange(12).view(2, 6))[:, 0], torch.arange(12).view(2, 6))


def test_permuted_pixels():
    """Every run has the same order, and neighbors don't stay together."""
    order = Sequence("permuted", 784).order
    assert order is not None
    assert sorted(order.tolist()) == list(range(784))
    assert torch.equal(order, Sequence("permuted", 784).order)
    assert abs(stats.spearmanr(order, range(784)).statistic) < 0.12  # 3 standard errors, 1 / sqrt(783) each
    distances = (order.diff().abs()).double()
    assert distances.mean() == pytest.approx(784 / 3, rel=0.1)  # of uniform draws
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(Sequence("permuted", 784)(x)[:, 0], x.flatten(1)[:, order])


def test_noise_of_the_first_state():
    """Normal, of the given standard deviation, independent between units, samples and steps, and in training alone."""
    model = build_model(compose(*SMALL, "norm=none", "model.noise_h0=0.3", "model.cell=rnn", "activation=identity"))
    layer = model.get_submodule("rnn1")
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.zero_()
            if name == "hidden.weight.weight":
                parameter.copy_(torch.eye(6))  # h stays what it was
    sequence = torch.zeros(2000, 8, 8)
    torch.manual_seed(0)
    first, second = (layer(sequence)[:, :, -1].detach().numpy() for _ in range(2))
    assert stats.kstest(first.ravel() / 0.3, "norm").pvalue > 1e-3
    for one, two in [(first[:, 0], first[:, 1]), (first[:-1, 0], first[1:, 0]), (first[:, 0], second[:, 0])]:
        assert stats.pearsonr(one, two).pvalue > 1e-3
    assert not layer.eval()(sequence).any()


def test_default_initialization_is_torchs():
    """U(-1/sqrt(H), 1/sqrt(H)) for all weights and biases of a recurrent layer, whatever the number of features."""
    model = build_model(compose("model=rnn", "norm=none", "model.hidden=100"))
    theirs = nn.LSTM(8, 100)
    for (layer, part), kind in product((("input", "ih"), ("hidden", "hh")), ("weight", "bias")):
        ours = model.get_submodule(f"rnn1.{layer}.weight").get_parameter(kind).detach().flatten()
        assert ours.shape == getattr(theirs, f"{kind}_{part}_l0").flatten().shape
        assert stats.kstest(ours.numpy(), "uniform", args=(-0.1, 0.2)).pvalue > 1e-3


@pytest.mark.parametrize(("cell", "gates"), GATES.items())
def test_each_gate_is_drawn_as_a_matrix_of_its_own(cell, gates):
    model = build_model(compose("model=rnn", "init=orthogonal", "model.hidden=20", f"model.cell={cell}"))
    weight = model.get_submodule("rnn1.hidden.weight").get_parameter("weight").detach()
    parts = weight.chunk(gates)
    for i, one in enumerate(parts):
        torch.testing.assert_close(one @ one.T, torch.eye(20), rtol=0, atol=1e-5)
        for other in parts[i + 1 :]:
            assert abs(stats.pearsonr(one.flatten(), other.flatten()).statistic) < 0.2


@pytest.mark.parametrize("norm", ["none", "ln"])
@pytest.mark.parametrize("cell", GATES)
def test_probes_see_each_gate_at_three_steps(norm, cell):
    """With the values of the loop, without gradients, and without changing the network."""
    model = network(f"norm={norm}", f"model.cell={cell}", "model.norm_at=sum")
    x = images()
    want = model(x)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for name, layer in named_layers(model).items():
        layer.register_forward_hook(lambda _, args, y, name=name: seen.update({name: (args[0], y)}))
    assert torch.equal(model(x), want)
    weights = dict(model.named_parameters())
    before, after = seen["rnn1.hidden"]
    torch.testing.assert_close(
        after, (before.mT @ weights["rnn1.hidden.weight.weight"].T + weights["rnn1.hidden.weight.bias"]).mT
    )
    states = seen["rnn1.out"][1]
    torch.testing.assert_close(before[:, :, 1:], states[:, :, :-1])
    for step, t in (("first", 0), ("middle", 4), ("last", 7)):
        total = seen["rnn1.input"][1][:, :, t] + after[:, :, t]
        if cell == "rnn":
            torch.testing.assert_close(seen[f"rnn1.h.{step}"][1], states[:, :, t])
        elif cell == "lstm":
            i, f, g, o = normalize(norm, total, 4, weights, "rnn1.sum").split(6, dim=1)
            for gate, values in zip("ifgo", (i, f, g, o), strict=True):
                torch.testing.assert_close(seen[f"rnn1.{gate}.{step}"][0], values)
            torch.testing.assert_close(torch.sigmoid(o) * seen[f"rnn1.c.{step}"][1], states[:, :, t])
        else:
            z, n = seen[f"rnn1.z.{step}"][1], seen[f"rnn1.n.{step}"][1]
            torch.testing.assert_close((1 - z) * n + z * before[:, :, t], states[:, :, t])
    assert not any(y.requires_grad for name, (_, y) in seen.items() if name not in ("rnn1.out", "head"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["norm=in"], "layer rnn1.sum of model=rnn"),
        (["init.input_std=1"], "init.input_std=1.0 can't rescale recurrent layers"),
        (["norm=sn"], "layer rnn1.input of model=rnn"),
        (["norm.position=post"], "Use norm.position=pre"),
        (["data=mnist1d"], "Use model.input=pixels"),
        (["noise=0.5"], "Use noise=0"),
        (["model.cell=rnn", "activation=tlu"], "Use activation=tanh"),
        (["norm=bn", "norm.ghost_batch=8"], "time steps"),
        (["norm=bn", "norm.per_step=true", "norm.freeze_at=3"], "norm.freeze_at"),
        (["norm=bn", "norm.per_step=true", "batch_size=1"], "layer rnn1.input"),
        (["norm=gn", "norm.groups=3"], "norm.groups can be"),
        (["norm.layers=[rnn1.forget]"], "rnn1.hidden"),
        (["norm.zero_last=true"], "zero_last"),
        (["model=mlp", "norm=bn", "norm.per_step=true"], "use model=rnn"),
    ],
)
def test_refusals(overrides, says):
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        layers(compose("model=rnn", *overrides))


@pytest.mark.parametrize(
    ("overrides", "asked", "says"),
    [
        (["activation=tanh"], {"activation": "tanh"}, "activation=tanh has no effect with model.cell=lstm."),
        (["norm=none"], {"model": {"norm_at": "sum"}}, "model.norm_at=sum has no effect with norm=none."),
        (["norm=bn", "norm.last_step=3"], {}, "norm.last_step has no effect without norm.per_step=true."),
        (["norm.affine=false", "norm.gamma=0.1"], {}, "norm.gamma=0.1 has no effect with norm.affine=false."),
    ],
)
def test_notes_on_keys_without_effect(overrides, asked, says):
    assert says in warnings(compose("model=rnn", *overrides), asked)


@pytest.mark.parametrize("norm", ["bn", "ln", "rms", "bn norm.per_step=true"])
def test_gamma_starts_as_the_config_says(norm):
    for model in ("rnn", "cnn") if "per_step" not in norm else ("rnn",):
        name, *more = norm.split()
        net = build_model(compose(f"model={model}", f"norm={name}", *more, "norm.gamma=0.1"))
        gammas = [p for name, p in net.named_parameters() if name.endswith("norm.weight")]
        assert gammas
        assert all(bool((gamma == 0.1).all()) for gamma in gammas)


@pytest.mark.parametrize("layers", ["*", "rnn1.candidate", "rnn1.hidden"])
@pytest.mark.parametrize("norm", ["none", "ln", "bn"])
def test_amp_with_and_without_probes(norm, layers):
    """Every cell, with a norm in some of its parts, whose values are float32 while the others are bfloat16."""
    for cell, at in product(GATES, ("maps", "sum")):
        if (layers == "rnn1.candidate" and (cell, at) != ("gru", "sum")) or (layers == "rnn1.hidden" and at == "sum"):
            continue
        more = [f"norm.layers=[{layers}]"] if layers != "*" and norm != "none" else []
        config = compose("model=rnn", f"norm={norm}", f"model.cell={cell}", f"model.norm_at={at}", "amp=bf16", *more)
        model, (inputs, labels) = build_model(config), watched_images()
        want = build_model(replace(config, amp=None))(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            plain = model(inputs)
            torch.testing.assert_close(plain.float(), want, rtol=0.1, atol=0.1)
            for layer in named_layers(model).values():
                layer.register_forward_hook(lambda *_: None)
            assert norm == "bn" or torch.equal(model(inputs), plain)
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()


@pytest.mark.parametrize(
    ("norm", "weight"), [("none", "spectral"), ("ln", "spectral"), ("bn norm.per_step=true", "none")]
)
def test_probes_change_nothing(norm, weight):
    """The same weights and buffers, bit for bit, after steps with and without all probes."""
    name, *more = norm.split()
    results = []
    for probes in (ALL, ["probe='off'"]):
        config = compose("model=rnn", f"norm={name}", *more, f"weight={weight}", *probes, "probe.every=1")
        watcher = Watcher(build_model(config), config)
        for seed in range(3):
            torch.manual_seed(seed)
            watcher(*watched_images(seed=seed))
        results.append(watcher.model.state_dict())
    for name in results[0]:
        assert torch.equal(results[0][name], results[1][name]), name


def test_growth_of_the_gradient_counts_a_recurrent_layer_as_one():
    for landscape in ("true", "false"):
        config = compose("model=rnn", "model.layers=2", "norm=ln", f"probe.landscape={landscape}", "probe.every=1")
        found = Watcher(build_model(config), config)(*watched_images()).scalars
        for kind, names in {
            "flow": {"rnn1.out": 0, "rnn2.out": 1, "head": 2},
            "weight": {"rnn1.input": 0, "rnn1.hidden": 0, "rnn2.input": 1, "rnn2.hidden": 1, "head": 2},
        }.items():
            logs = [math.log(found[f"grad_{kind}/{name}"]) for name in names]
            slope = stats.linregress([-depth for depth in names.values()], logs).slope
            assert found[f"grad_growth/{kind}"] == pytest.approx(slope, rel=1e-5)


def test_statistics_of_each_step_are_probed():
    config = compose("model=rnn", "norm=bn", "norm.per_step=true", "probe.every=1", "norm.layers=[rnn1.input]")
    model = build_model(config)
    inputs, labels = watched_images()
    found = Watcher(model, config)(inputs, labels).scalars
    weight = dict(build_model(config).named_parameters())["rnn1.input.weight.weight"].detach()
    values = [(inputs[:, 0, t] @ weight.T) for t in (0, 4, 7)]  # the running mean is 0, the running variance 1
    distance = torch.stack([v.mean(0).abs().mean() for v in values]).mean()
    assert found["batch_mean_distance/rnn1.input"] == pytest.approx(float(distance), rel=1e-3)
    standardized = torch.stack([(v - v.mean(0)) / (v.var(0, correction=0) + 1e-5).sqrt() for v in values])
    assert found["norm_out/rnn1.input/std"] == pytest.approx(float(standardized.std()), rel=0.02)


def test_kaiming_is_by_fan_in_and_the_gain_of_elmans_activation():
    for cell, activation, gain in (("rnn", "relu", 2**0.5), ("lstm", "relu", 1.0)):
        choices = [f"model.cell={cell}", f"activation={activation}", "init=kaiming", "model.hidden=200", "norm=none"]
        weights = dict(build_model(compose("model=rnn", *choices)).named_parameters())
        assert weights["rnn1.input.weight.weight"].detach().std().item() == pytest.approx(gain / 8**0.5, rel=0.05)
        assert weights["rnn1.hidden.weight.weight"].detach().std().item() == pytest.approx(gain / 200**0.5, rel=0.02)
