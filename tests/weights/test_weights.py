"""Normalizations of weights against their formulas, in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import nn

from normexp.models.activations import ACTIVATIONS
from normexp.models.build import build_model
from normexp.models.layer import named_layers
from normexp.weights import WEIGHTS, Filters
from normexp.weights.standardize import ScaledStandardize, Standardize
from normexp.weights.sws import GAMMAS
from tests.conftest import compose

SHAPES = [(5, 7), (4, 3, 3, 3), (4, 6, 1, 1)]


def module(shape: tuple[int, ...]) -> nn.Linear | nn.Conv2d:
    """A linear layer or convolution in float64 whose weight has this shape."""
    made = nn.Linear(*shape[1::-1]) if len(shape) == 2 else nn.Conv2d(*shape[1::-1], shape[2:])
    return made.double().to(memory_format=torch.channels_last)


def normalized(name: str, shape: tuple[int, ...], *overrides: str, after: str = "relu") -> nn.Module:
    made = module(shape)
    config = compose(f"weight={name}", *overrides).weight
    WEIGHTS[name].apply(config, Filters("layer", shape[0], math.prod(shape[1:]), after), made)
    return made.double()


def standardized(weight: torch.Tensor, eps: float = 1e-10) -> np.ndarray:
    """Each filter minus its mean, over the root of its biased variance plus eps."""
    w = weight.detach().numpy()
    rows = w.reshape(len(w), -1)
    mean = rows.sum(1, keepdims=True) / rows.shape[1]
    var = ((rows - mean) ** 2).sum(1, keepdims=True) / rows.shape[1]
    return ((rows - mean) / np.sqrt(var + eps)).reshape(w.shape)


def close(one: torch.Tensor, two: object, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(one.detach().numpy(), np.asarray(two), rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
def test_weight_standardization(shape):
    layer = normalized("ws", shape, "weight.eps=0.01")
    close(layer.weight, standardized(layer.parametrizations.weight.original, 0.01))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("after", ["relu", "tanh", "identity"])
def test_scaled_weight_standardization(shape, after):
    layer = normalized("sws", shape, after=after)
    gain = layer.parametrizations.weight[0].gain
    assert torch.equal(gain, torch.ones(shape[0]))
    nn.init.normal_(gain)
    factor = (GAMMAS[after] * gain.detach().numpy()).reshape(-1, *[1] * (len(shape) - 1))
    close(layer.weight, factor * standardized(layer.parametrizations.weight.original) / math.sqrt(math.prod(shape[1:])))


@pytest.mark.parametrize("shape", SHAPES)
def test_weight_norm(shape):
    layer = normalized("weight_norm", shape)
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    close(layer.weight, v.detach())  # the weight that was drawn
    for tensor in (g, v):
        nn.init.normal_(tensor)
    rows = v.detach().numpy().reshape(shape[0], -1)
    unit = rows / np.sqrt((rows**2).sum(1, keepdims=True))
    close(layer.weight, (g.detach().numpy().reshape(-1, 1) * unit).reshape(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_largest_singular_value_tends_to_1(shape):
    layer = normalized("spectral", shape)
    nn.init.normal_(layer.parametrizations.weight.original)  # u and v are those of the weight before
    largest = [np.linalg.svd(layer.weight.detach().numpy().reshape(shape[0], -1))[1][0] for _ in range(300)]
    assert abs(largest[0] - 1) > 1e-3
    assert largest[-1] == pytest.approx(1, abs=1e-9)


def test_the_power_method_runs_in_training_only():
    layer = normalized("spectral", (5, 7), "weight.iterations=3")
    state = copy.deepcopy(layer.state_dict())
    layer.eval()
    one, two = layer.weight, layer.weight
    assert torch.equal(one, two)
    assert all(torch.equal(value, state[key]) for key, value in layer.state_dict().items())

    nn.init.normal_(layer.parametrizations.weight.original)
    w, v = (layer.state_dict()[f"parametrizations.weight.{key}"].clone() for key in ("original", "0._v"))
    for _ in range(3):  # Miyato et al. 2018, algorithm 1
        u = w @ v
        u = u / u.norm()
        v = w.T @ u
        v = v / v.norm()
    layer.train()
    close(layer.weight, w / (u @ w @ v))


@settings(max_examples=30, deadline=None)
@given(
    filters=st.integers(1, 4),
    fan_in=st.integers(2, 9),
    kernel=st.sampled_from([None, 1, 3]),
    scale=st.floats(1e-2, 1e2),
    shift=st.floats(-10, 10),
)
def test_standardized_weights_depend_on_neither_scale_nor_shift(filters, fan_in, kernel, scale, shift):
    shape = (filters, fan_in) if kernel is None else (filters, fan_in, kernel, kernel)
    weight = torch.randn(shape, dtype=torch.float64)
    for make in (Standardize(1e-20), ScaledStandardize(filters, 1.5, 1e-20).double()):
        close(make(scale * weight + shift), make(weight).detach(), 1e-7)
    flat = Standardize(1e-20)(weight).flatten(1)
    close(flat.mean(1), 0 * flat[:, 0].detach())
    close(flat.square().mean(1), torch.ones(filters), 1e-9)


@pytest.mark.parametrize("name", ["ws", "sws", "spectral"])
def test_cancels_scale(name):
    layer = normalized(name, (4, 3, 3, 3)).eval()
    before = layer.weight
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(7)
    close(layer.weight, before.detach(), 1e-6)
    assert WEIGHTS[name].cancels_scale


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients(shape, memory_format):
    weight = torch.randn(shape, dtype=torch.float64)
    weight = (weight.to(memory_format=memory_format) if len(shape) == 4 else weight).requires_grad_()
    scaled = ScaledStandardize(shape[0], 1.3, 1e-3).double()
    nn.init.normal_(scaled.gain)
    assert torch.autograd.gradcheck(Standardize(1e-3), (weight,))
    of_both = lambda w, gain: torch.func.functional_call(scaled, {"gain": gain}, (w,))  # noqa: E731
    assert torch.autograd.gradcheck(of_both, (weight, scaled.gain))


@pytest.mark.parametrize("shape", [(3, 1, 3, 3), (3, 5, 1, 1), (3, 5, 3, 3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_standardized_weights_keep_their_memory_order(shape, memory_format):
    """Otherwise convolutions convert in each step, at up to half of their time."""
    weight = torch.randn(shape).clone(memory_format=memory_format)
    assert Standardize(1e-10)(weight).stride() == weight.stride()
    strides = nn.Conv2d(shape[1], shape[0], shape[2:]).to(memory_format=memory_format).weight
    assert Standardize(1e-10)(strides).stride() == strides.stride()


def test_a_constant_filter_has_a_gradient():
    weight = torch.ones(2, 4, dtype=torch.float64, requires_grad=True)
    standardized = Standardize(1e-10)(weight)
    standardized.square().sum().backward()
    assert torch.equal(standardized, torch.zeros(2, 4))
    assert torch.equal(weight.grad, torch.zeros(2, 4))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gamma_of_each_activation(name):
    functions = {
        "relu": lambda x: max(x, 0.0),
        "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
        "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
        "tanh": math.tanh,
        "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
        "silu": lambda x: x / (1 + math.exp(-x)),
        "tlu": lambda x: max(x, 0.0),
        "identity": lambda x: x,
    }
    g = functions[name]
    density = lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    mean, square = (
        sum(quad(lambda x, p=p: g(x) ** p * density(x), *ends, epsabs=1e-14)[0] for ends in ((-12, 0), (0, 12)))
        for p in (1, 2)
    )
    assert GAMMAS[name] == pytest.approx((square - mean**2) ** -0.5, rel=1e-10)


@pytest.mark.parametrize(
    "activation",
    [pytest.param(n, marks=[pytest.mark.slow] * (n not in ("relu", "tanh"))) for n in ACTIVATIONS if n != "identity"],
)
def test_scaled_weight_standardization_keeps_the_variance(activation):
    """Without a norm, at initialization: each layer's output has variance 1 for inputs of variance 1."""
    network = ["model=mlp", "model.depth=12", "model.width=400", "norm=none", f"activation={activation}"]

    def variances(weight: str) -> list[float]:
        model = build_model(compose(*network, f"weight={weight}")).double()
        found: list[float] = []
        for layer in list(named_layers(model).values())[:-1]:
            part = layer.get_submodule("weight")
            # The variance of each unit over samples, averaged over units.
            part.register_forward_hook(lambda m, i, y: found.append(float(y.detach().var(0).mean())))
        torch.manual_seed(0)
        model(torch.randn(500, 64, dtype=torch.float64))
        return found

    kept, lost = variances("sws"), variances("none")
    assert len(kept) == 12
    assert all(0.5 < value < 2 for value in kept)
    assert lost[-1] < 0.01
