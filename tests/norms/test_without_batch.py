"""Norms without batch statistics against their formulas, in float64, and against each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from normexp.models.activations import find_activation
from normexp.norms import NORMS, Site
from tests.conftest import compose
from tests.norms.test_norms import build

IMAGES, PIXELS, VECTORS = (8, 5, 3), (8, 1, 1), (8,)


def over(values, shape):
    """Reshape (C,) so that it broadcasts over samples of this shape."""
    return values.reshape(1, -1, *[1] * (len(shape) - 1))


def formula(name, x, p, *, axes="all", groups=4):
    """The norm without gamma and beta, written out. p: its parameters by name."""
    dims = tuple(range(1, x.dim())) if axes == "all" else (1,)
    match name:
        case "ln":
            mean = x.mean(dims, keepdim=True)
            return (x - mean) / ((x - mean).square().mean(dims, keepdim=True) + 1e-5).sqrt()
        case "rms":
            return x / (x.square().mean(dims, keepdim=True) + 1e-6).sqrt()
        case "frn":
            flat = x.flatten(2) if x.dim() > 2 else x[..., None]
            eps = 1e-6 + abs(p["epsilon"]) if "epsilon" in p else 1e-6
            return x / (flat.square().mean(2) + eps).sqrt().reshape(*x.shape[:2], *[1] * (x.dim() - 2))
        case "evonorm":
            grouped = x.reshape(len(x), groups, -1)
            mean = grouped.mean(2, keepdim=True)
            std = ((grouped - mean).square().mean(2, keepdim=True) + 1e-5).sqrt()
            return (x * torch.sigmoid(over(p["v"], x.shape[1:]) * x)).reshape(grouped.shape).div(std).reshape(x.shape)
        case "dyt":
            return torch.tanh(p["alpha"] * x)
        case "derf":
            return torch.erf(p["alpha"] * x + p["shift"])
    raise AssertionError(name)


CASES = [
    *[(name, shape, "all") for name in ("ln", "rms", "frn", "evonorm", "dyt", "derf") for shape in (IMAGES, VECTORS)],
    *[(name, shape, "channel") for name in ("ln", "rms") for shape in (IMAGES, VECTORS)],
    ("frn", PIXELS, "all"),
]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("name", "shape", "axes"), CASES)
def test_formula(name, shape, axes, affine):
    keys = [f"norm.axes={axes}"] * (name in ("ln", "rms")) + ["norm.beta=true"] * (name == "rms" and affine)
    module = build(name, shape, f"norm.affine={str(affine).lower()}", *keys)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    p = {key: value.detach() for key, value in module.named_parameters()}
    assert ("weight" in p, "bias" in p) == (affine, affine)
    x = 3 + 2 * torch.randn(6, *shape, dtype=torch.float64)
    want = formula(name, x, p, axes=axes)
    if affine:
        want = want * over(p["weight"], shape) + over(p["bias"], shape)
    torch.testing.assert_close(module(x), want, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("name", "shape", "axes"), CASES)
def test_gradients(name, shape, axes):
    keys = [f"norm.axes={axes}"] * (name in ("ln", "rms"))
    module = build(name, shape, *keys)
    x = torch.randn(2, *shape, dtype=torch.float64, requires_grad=True)
    names, values = zip(*module.named_parameters(), strict=True)

    def call(x, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *[v.detach().requires_grad_() for v in values]))


def test_initial_parameters():
    """gamma 1, beta 0, alpha 0.5 (Zhu et al. 2025), s 0, v 1, the learned eps 1e-4 (Singh and Krishnan 2020), tau 0."""
    wanted = {
        "dyt": {"weight": 1, "bias": 0, "alpha": 0.5},
        "derf": {"weight": 1, "bias": 0, "alpha": 0.5, "shift": 0},
        "evonorm": {"weight": 1, "bias": 0, "v": 1},
        "rms": {"weight": 1},
        "frn": {"weight": 1, "bias": 0, "epsilon": 1e-4},
    }
    for name, values in wanted.items():
        parameters = dict(build(name, VECTORS).named_parameters())
        assert parameters.keys() == values.keys()
        for key, value in values.items():
            assert torch.allclose(parameters[key].detach(), torch.tensor(value, dtype=torch.float64), rtol=1e-6), (
                name,
                key,
            )
    assert torch.equal(next(find_activation("tlu").build(Site("l", IMAGES)).parameters()), torch.zeros(8))


def test_channel_layer_norm_is_torchs_with_the_channels_last():
    x = torch.randn(4, *IMAGES, dtype=torch.float64)
    want = F.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2)
    torch.testing.assert_close(build("ln", IMAGES, "norm.axes=channel")(x), want, rtol=0, atol=1e-12)
    whole = build("ln", IMAGES)(x)
    assert (whole - want).abs().max() > 0.1


shapes = st.tuples(st.integers(2, 6), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=25, deadline=None)
@given(shape=shapes, axes=st.sampled_from(["all", "channel"]), scale=st.floats(0.5, 20))
def test_rms_norm_is_layer_norm_of_centered_inputs(shape, axes, scale):
    x = scale * torch.randn(3, *shape, dtype=torch.float64)
    dims = (1, 2, 3) if axes == "all" else (1,)
    centered = x - x.mean(dims, keepdim=True)
    keys = [f"norm.axes={axes}", "norm.eps=1e-5"]
    torch.testing.assert_close(build("rms", shape, *keys)(centered), build("ln", shape, *keys)(x), rtol=0, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(shape=shapes, scale=st.floats(0.01, 100))
def test_frn_is_rms_norm_of_each_channel(shape, scale):
    x = scale * torch.randn(3, *shape, dtype=torch.float64)
    if shape[1] * shape[2] == 1:
        return
    want = F.rms_norm(x.flatten(2), (shape[1] * shape[2],), eps=1e-6).reshape(x.shape)
    torch.testing.assert_close(build("frn", shape)(x), want, rtol=0, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(channels=st.integers(1, 300))
def test_automatic_groups_are_the_largest_divisor_up_to_32(channels):
    config = compose("norm=gn", "norm.groups=auto", "data=cifar10", "model.channels=[32]").norm
    groups = NORMS["gn"].groups(config, channels)
    assert channels % groups == 0
    assert groups <= 32
    assert not any(channels % more == 0 for more in range(groups + 1, 33))


def test_group_size():
    config = compose("norm=gn", "norm.group_size=4", "model.channels=[8]").norm
    assert [NORMS["gn"].groups(config, channels) for channels in (4, 8, 64)] == [1, 2, 16]
    wrong, works = NORMS["gn"].problem(config, Site("conv1", (6, 3, 3)), 8)
    assert "not divisible into groups of 4" in wrong
    assert works == "norm.group_size can be 1, 2, 3, 6 here."


def test_tlu_is_relu_between_two_shifts():
    """max(y, tau) = relu(y - tau) + tau (Singh and Krishnan 2020, section 3.2)."""
    module = find_activation("tlu").build(Site("l", IMAGES)).double()
    tau = torch.randn(8, dtype=torch.float64)
    module.load_state_dict({"tau": tau})
    y = torch.randn(4, *IMAGES, dtype=torch.float64)
    torch.testing.assert_close(module(y), F.relu(y - over(tau, IMAGES)) + over(tau, IMAGES))


@pytest.mark.parametrize(
    ("name", "shape", "works"),
    [
        ("rms", (1,), False),
        ("rms", (1, 2, 2), True),
        ("frn", VECTORS, True),
        ("evonorm", (6, 3, 3), False),
        ("evonorm", (4,), False),
        ("dyt", (1,), True),
        ("derf", (1, 1, 1), True),
    ],
)
def test_refuses_what_has_nothing_to_normalize(name, shape, works):
    config = compose("model=resnet", f"norm={name}").norm
    assert (NORMS[name].problem(config, Site("l", shape), 8) is None) == works
    if works:
        assert torch.isfinite(build(name, shape)(torch.randn(4, *shape, dtype=torch.float64))).all()


def test_one_channel_has_no_layer_norm_over_channels():
    config = compose("norm=ln", "norm.axes=channel").norm
    wrong, works = NORMS["ln"].problem(config, Site("conv1", (1, 4, 4)), 8)
    assert "single channel" in wrong
    assert "norm.axes=all" in works
