"""Initial weights: independent between layers, channels and seeds, and drawn from the distribution that each init names.

References are the papers' formulas and SciPy's distributions. A comparison of norms can't see a fault here, since both of its
arms have it.
"""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from normexp.models.build import build_model
from normexp.models.init import INITS
from normexp.models.layer import named_layers
from tests.conftest import compose

NETS = {
    "mlp": ["model=mlp", "model.depth=6"],
    "cnn": ["model=cnn", "model.convs=2", "model.head=fc"],
    "resnet": ["model=resnet", "model.depth=20"],
    "resnet preact": ["model=resnet", "model.depth=14", "model.block=preact"],
}
CHANCE = 5.5
"""Standard errors that a correlation may lie from 0: exceeded by chance once in 26 million, of some 10,000."""


def weights(*overrides, seed=0):
    """The layers' weights by name, float64 arrays of shape (out, in, ...)."""
    net = build_model(compose(*overrides, "data=cifar10", f"seed={seed}"))
    return {
        name: layer.weight.weight.detach().double().numpy()
        for name, layer in named_layers(net).items()
        if hasattr(layer, "weight")
    }


def assert_unrelated(one, two, what):
    """Their values, in the order of memory, are not correlated beyond chance; the longer array is cut."""
    n = min(one.size, two.size)
    r = np.corrcoef(one.ravel()[:n], two.ravel()[:n])[0, 1]
    assert abs(r) * n**0.5 < CHANCE, f"{what}: correlation {r:.3f} of {n} values"


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("net", NETS)
def test_no_two_layers_share_their_initial_weights(net, init):
    """Also of different shapes: the same random numbers, scaled, would correlate."""
    found = weights(*NETS[net], f"init={init}")
    for (name, one), (other, two) in combinations(found.items(), 2):
        assert one.shape != two.shape or not np.array_equal(one, two)
        assert_unrelated(one, two, f"{name} and {other}")


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("net", NETS)
def test_channels_of_a_layer_are_unrelated(net, init):
    """In the mean over all pairs, which sees a weak relation too, and for each pair."""
    for name, weight in weights(*NETS[net], f"init={init}").items():
        rows = weight.reshape(len(weight), -1)
        n = rows.shape[1]
        products = stats.zscore(rows, axis=1) @ stats.zscore(rows, axis=1).T / n
        pairs = products[np.triu_indices(len(rows), 1)]
        if init == "orthogonal":  # less alike than by chance
            assert np.abs(rows @ rows.T / (rows**2).sum(1) - np.eye(len(rows))).max() < (1e-4 if len(rows) <= n else 1)
            continue
        assert np.abs(pairs).max() * n**0.5 < min(CHANCE, 0.95 * n**0.5), name
        assert abs(pairs.mean()) * (n * len(pairs)) ** 0.5 < CHANCE, name


@pytest.mark.parametrize("init", INITS)
def test_seeds_are_unrelated_over_the_whole_range(init):
    """3 and 2^32 + 3 differ in the upper half of their bits alone."""
    seeds = (0, 1, 2, 3, 2**32, 2**32 + 3, 2**62 + 3, 2**63 - 1)
    drawn = {seed: weights("model=mlp", f"init={init}", seed=seed)["fc2"] for seed in seeds}
    for (seed, one), (other, two) in combinations(drawn.items(), 2):
        assert_unrelated(one, two, f"seeds {seed} and {other}")


@pytest.mark.parametrize("net", NETS)
def test_weights_depend_on_seed_and_name_alone(net):
    """Nets that differ in norm, dropout, noise, a bias, or by more layers start from the same weights."""
    base = weights(*NETS[net])
    for more in (["norm=none"], ["norm=ln", "dropout=0.3", "noise=0.5"], ["norm=bn", "norm.position=post"]):
        other = weights(*NETS[net], *more)
        assert base.keys() == other.keys()
        assert all(np.array_equal(base[name], other[name]) for name in base)
    shallow = weights("model=mlp", "model.depth=3")
    deep = weights("model=mlp", "model.depth=6")
    assert all(np.array_equal(shallow[f"fc{i}"], deep[f"fc{i}"]) for i in (1, 2, 3))


GAINS = {"relu": 2**0.5, "tanh": 5 / 3, "sigmoid": 1.0, "leaky_relu": (2 / (1 + 0.01**2)) ** 0.5}
"""Of kaiming: He et al. 2015, eq. 10 and 15; of tanh, torch's convention."""


def distribution(init, shape, activation="relu"):
    """The distribution of a single weight of shape (out, in, k, k), by its formula."""
    fan_in, fan_out = np.prod(shape[1:]), shape[0] * np.prod(shape[2:])
    match init:
        case "default":  # torch.nn.Linear: U(-1/sqrt(in), 1/sqrt(in)), as in LeCun et al. 1998
            return stats.uniform(-(fan_in**-0.5), 2 * fan_in**-0.5)
        case "kaiming":
            return stats.norm(0, GAINS[activation] / fan_in**0.5)
        case "xavier":  # Glorot and Bengio 2010, eq. 12
            return stats.norm(0, (2 / (fan_in + fan_out)) ** 0.5)
        case "normal":
            return stats.norm(0, 0.01)
        case "orthogonal":  # a coordinate of a random point on the unit sphere of dimension d
            d = max(shape[0], fan_in)
            return stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
    raise AssertionError(init)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("net", NETS)
def test_each_layer_is_drawn_from_its_formula(net, init):
    """Kolmogorov-Smirnov, one p-value a layer; of orthogonal weights, which depend on each other, one value of every row."""
    for name, weight in weights(*NETS[net], f"init={init}").items():
        rows = weight.reshape(len(weight), -1)
        values = rows[:, 0] if init == "orthogonal" else weight.ravel()
        assert stats.kstest(values, distribution(init, weight.shape).cdf).pvalue > 1e-5, name


@pytest.mark.parametrize("activation", GAINS)
def test_kaimings_gain_is_that_of_the_activation(activation):
    weight = weights("model=mlp", "init=kaiming", f"activation={activation}")["fc2"]
    assert stats.kstest(weight.ravel(), distribution("kaiming", weight.shape, activation).cdf).pvalue > 1e-4


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("gain", [0.5, 4.0])
def test_xaviers_gain_is_a_factor_of_its_standard_deviation(net, gain):
    plain = weights(*NETS[net], "init=xavier")
    for name, weight in weights(*NETS[net], "init=xavier", f"init.gain={gain}").items():
        np.testing.assert_allclose(weight, gain * plain[name], rtol=1e-6)
        scaled = distribution("xavier", weight.shape)
        assert stats.kstest(weight.ravel() / gain, scaled.cdf).pvalue > 1e-5, name


def test_a_gain_of_4_keeps_the_variance_of_deep_sigmoid_networks():
    """Near 0, a sigmoid has the slope 1/4; bias-free centered units in plain torch, 10 layers."""
    net = named_layers(build_model(compose("model=mlp", "model.depth=12", "norm=none", "init=xavier", "init.gain=4")))
    matrices = [net[f"fc{i}"].weight.weight.detach() for i in range(2, 12)]
    x = 0.01 * torch.randn(500, 100, generator=torch.Generator().manual_seed(0))
    start = x.std()
    for matrix in matrices:
        x = torch.sigmoid(x @ matrix.T) - 0.5
    assert 0.3 < x.std() / start < 3


def test_biases_are_torchs_with_the_default_init_and_else_0():
    for init in INITS:
        net = build_model(compose("model=mlp", "model.width=300", "norm=none", f"init={init}"))
        biases = {name: layer.weight.bias.detach().numpy() for name, layer in named_layers(net).items()}
        if init != "default":
            assert not any(bias.any() for bias in biases.values())
            continue
        uniform = stats.uniform(-(300**-0.5), 2 * 300**-0.5)
        assert stats.kstest(biases["fc2"], uniform.cdf).pvalue > 1e-4
        assert_unrelated(biases["fc2"], biases["fc3"], "biases")
        assert_unrelated(biases["fc2"], net.fc2.weight.weight.detach().numpy()[0], "bias and weight")


def growth(network, generator):
    """log10 of how much the gradient of a random loss grows from the last layer's output to the first one's."""
    x = torch.randn(64, 100, generator=generator)
    outputs = []
    for layer in network:
        x = layer(x)
        x.retain_grad()
        outputs.append(x)
    (x * torch.randn(x.shape, generator=generator)).sum().backward()
    return float((outputs[0].grad.norm() / outputs[-1].grad.norm()).log10())


def test_gradients_through_20_relu_layers_vary_as_in_plain_torch():
    """Layers that begin alike let some directions grow in all of them: the spread between seeds is several times too large."""
    ours, theirs = [], []
    for seed in range(40):
        generator = torch.Generator().manual_seed(1000 + seed)
        net = build_model(compose("model=mlp", "model.depth=20", "norm=none", "init=kaiming", f"seed={seed}"))
        ours.append(growth(list(named_layers(net).values())[1:-1], generator))
        plain = [nn.Sequential(nn.Linear(100, 100), nn.ReLU()) for _ in range(19)]
        for layer in plain:
            nn.init.normal_(layer[0].weight, 0, (2 / 100) ** 0.5, generator=generator)
            nn.init.zeros_(layer[0].bias)
        theirs.append(growth(plain, generator))
    assert 0.5 < np.std(ours) / np.std(theirs) < 2
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


@pytest.mark.parametrize("init", ["default", "kaiming", "xavier", "orthogonal", "normal"])
def test_scale_and_biases_of_each_init(init):
    net = build_model(compose("model=mlp", "model.width=400", f"init={init}", "norm=none"))
    weight, bias = net.fc2.weight.weight.detach(), net.fc2.weight.bias.detach()
    std = {
        "default": (3 * 400) ** -0.5,
        "kaiming": (2 / 400) ** 0.5,
        "xavier": 400**-0.5,
        "orthogonal": 400**-0.5,
        "normal": 0.01,
    }
    assert weight.std().item() == pytest.approx(std[init], rel=0.02)
    assert (bias == 0).all().item() == (init != "default")
    if init == "orthogonal":
        torch.testing.assert_close(weight @ weight.T, torch.eye(400), rtol=0, atol=1e-4)
