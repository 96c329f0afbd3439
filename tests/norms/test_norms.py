"""Every norm against its formula, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from normexp.norms import NORMS, Site
from tests.conftest import compose

PLACES = [
    (name, shape) for name in ("bn", "ln", "in", "gn") for shape in ((8, 5, 3), (8,)) if (name, shape) != ("in", (8,))
]
AXES = {"bn": (0, 2, 3), "ln": (1, 2, 3), "in": (2, 3)}


def build(name: str, shape: tuple[int, ...], *overrides: str) -> torch.nn.Module:
    config = compose("model=resnet", f"norm={name}", *overrides)
    module = NORMS[name].build(config.norm, Site("layer", shape))
    assert module is not None
    return module.double()


def normalize(x: Tensor, axes: tuple[int, ...], eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(var + eps) with the biased variance, over the given axes."""
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


def expected(name: str, x: Tensor, groups: int = 4) -> Tensor:
    if name == "gn":
        batch, channels, *size = x.shape
        grouped = x.reshape(batch, groups, channels // groups, *size)
        return normalize(grouped, tuple(range(2, grouped.dim()))).reshape(x.shape)
    return normalize(x, tuple(axis for axis in AXES[name] if axis < x.dim()))


@pytest.mark.parametrize(("name", "shape"), PLACES)
def test_formula_with_gamma_and_beta(name, shape):
    norm = build(name, shape)
    x = 3 + 2 * torch.randn(6, *shape, dtype=torch.float64)
    gamma, beta = torch.randn(2, 8, dtype=torch.float64)
    norm.load_state_dict({"weight": gamma, "bias": beta}, strict=False)
    broadcast = (1, 8) + (1,) * (len(shape) - 1)
    want = gamma.reshape(broadcast) * expected(name, x) + beta.reshape(broadcast)
    torch.testing.assert_close(norm(x), want, rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 3, 6]),
    batch=st.integers(2, 5),
    size=st.integers(2, 4),
    shift=st.floats(-50, 50),
    scale=st.floats(0.1, 20),
)
def test_group_norm_lies_between_layer_and_instance_norm(groups, batch, size, shift, scale):
    x = shift + scale * torch.randn(batch, 6, size, size, dtype=torch.float64)
    group = (
        build("gn", (6, size, size), f"norm.groups={groups}", "model.width=6")
        if groups != 1
        else build("ln", x.shape[1:])
    )
    torch.testing.assert_close(group(x), expected("gn", x, groups), rtol=0, atol=1e-9)
    if groups == 6:
        torch.testing.assert_close(group(x), build("in", x.shape[1:])(x), rtol=0, atol=1e-12)


def test_affine_false_has_no_parameters():
    for name in ("bn", "ln", "in", "gn"):
        assert list(build(name, (8, 4, 4), "norm.affine=false").parameters()) == []


def test_running_statistics_of_batch_norm():
    """The running variance is that of the unbiased estimate, m/(m-1) times the biased one that normalizes."""
    norm = build("bn", (3, 4, 4), "norm.momentum=0.2")
    x = 5 + 2 * torch.randn(6, 3, 4, 4, dtype=torch.float64)
    m = 6 * 4 * 4
    norm(x)
    torch.testing.assert_close(norm.running_mean, 0.2 * x.mean((0, 2, 3)))
    biased = x.var((0, 2, 3), correction=0)
    torch.testing.assert_close(norm.running_var, 0.8 + 0.2 * biased * m / (m - 1))


@pytest.mark.parametrize("name", ["ln", "in", "gn"])
def test_only_batch_norm_depends_on_batch_mates(name):
    x = torch.randn(4, 8, 3, 3, dtype=torch.float64)
    other = torch.cat([x[:1], 9 * torch.randn(3, 8, 3, 3, dtype=torch.float64)])
    norm, batch_norm = build(name, (8, 3, 3)), build("bn", (8, 3, 3))
    torch.testing.assert_close(norm(x)[0], norm(other)[0], rtol=0, atol=1e-12)
    assert (batch_norm(x)[0] - batch_norm(other)[0]).abs().max() > 0.1
    assert NORMS["bn"].uses_batch
    assert not NORMS[name].uses_batch


@pytest.mark.parametrize("name", ["bn", "ln", "in", "gn"])
def test_cancels_bias(name):
    """A constant per channel before the norm has an effect or not, as the entry says."""
    x, bias = torch.randn(4, 8, 3, 3, dtype=torch.float64), torch.randn(1, 8, 1, 1, dtype=torch.float64)
    change = (build(name, (8, 3, 3))(x + bias) - build(name, (8, 3, 3))(x)).abs().max()
    assert (change < 1e-10) == NORMS[name].cancels_bias


@pytest.mark.parametrize(("name", "shape"), PLACES)
def test_sizes_are_those_of_what_shares_one_mean(name, shape):
    """A statistic changes with as many inputs as the product of the sizes."""
    config = compose("model=resnet", f"norm={name}")
    norm = build(name, shape, "norm.affine=false")
    x = torch.randn(6, *shape, dtype=torch.float64, requires_grad=True)
    norm(x)[(0,) * x.dim()].backward()
    assert x.grad is not None
    sizes = NORMS[name].sizes(config.norm, Site("layer", shape), 6)
    assert int((x.grad != 0).sum()) == math.prod(sizes.values())


@pytest.mark.parametrize(
    ("name", "shape", "batch_size", "works"),
    [
        ("bn", (8,), 1, False),
        ("bn", (8,), 2, True),
        ("bn", (8, 2, 2), 1, True),
        ("ln", (1,), 8, False),
        ("ln", (2,), 1, True),
        ("in", (8,), 8, False),
        ("in", (8, 1, 1), 8, False),
        ("in", (8, 1, 2), 8, True),
        ("gn", (8,), 8, True),
        ("gn", (6, 3, 3), 8, False),
        ("gn", (4,), 8, False),
        ("gn", (4, 1, 2), 8, True),
    ],
)
def test_refuses_exactly_what_torch_can_not_do_or_has_no_variance(name, shape, batch_size, works):
    config = compose("model=resnet", f"norm={name}")
    problem = NORMS[name].problem(config.norm, Site("layer", shape), batch_size)
    assert (problem is None) == works
    if works:
        y = build(name, shape)(torch.randn(batch_size, *shape, dtype=torch.float64))
        assert math.isfinite(float(y.detach().square().sum()))
        assert y.abs().max() > 0.1  # not everything was normalized away
    else:
        assert all(sentence.strip() for sentence in problem)


@pytest.mark.parametrize("name", [*(name for name in NORMS if name != "none"), "iternorm norm.exact=true"])
def test_values_that_are_not_finite_stay_so(name):
    """A network that diverges must not end in an error."""
    norm = build(name.split()[0], (8, 5, 3), *[f"norm={name}".partition(" ")[2]] * (" " in name))
    x = torch.randn(6, 8, 5, 3, dtype=torch.float64)
    x[0, 0, 0, 0] = torch.nan
    x.requires_grad_()
    y = norm(x)
    y.sum().backward()
    assert not y.isfinite().all()
    assert not x.grad.isfinite().all()
