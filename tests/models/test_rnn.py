"""Recurrent networks against torch's modules, and with norms against loops written from the papers' equations."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.models.build import build_model
from normexp.models.describe import describe
from normexp.models.recurrent import RecurrentLayer
from normexp.norms.bn_module import StepBatchNorm
from tests.conftest import compose

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
SMALL = ["model=rnn", "model.hidden=6", "init=xavier", "activation=tanh"]


def images(batch: int = 5) -> Tensor:
    return torch.randn(batch, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def network(*overrides: str) -> nn.Module:
    """In float64, with gammas other than 1 and biases other than 0."""
    model, generator = build_model(compose(*SMALL, *overrides)).double(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def gradients(model: nn.Module, logits: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    F.cross_entropy(logits, torch.arange(len(logits)) % 10).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(("cell", "activation"), [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")])
@pytest.mark.parametrize(("count", "kind"), [(1, "pixels"), (2, "rows")])
@pytest.mark.parametrize("native", [True, False])
def test_without_a_norm_it_is_torchs_module(cell, activation, count, kind, native):
    """Outputs and all gradients, of torch's kernels and of the loop over the steps, which is that with norms."""
    more = [f"activation={activation}", f"model.cell={cell}", f"model.layers={count}", f"model.input={kind}"]
    ours = network("norm=none", *more)
    for layer in ours.modules():
        if isinstance(layer, RecurrentLayer):
            assert layer.native
            layer.native = native
    kinds = {"rnn": partial(nn.RNN, nonlinearity=activation), "lstm": nn.LSTM, "gru": nn.GRU}
    theirs = kinds[cell](8 if kind == "rows" else 1, 6, num_layers=count, batch_first=True).double()
    with torch.no_grad():
        for i, (layer, part) in product(range(count), (("input", "ih"), ("hidden", "hh"))):
            linear = ours.get_submodule(f"rnn{i + 1}.{layer}.weight")
            getattr(theirs, f"weight_{part}_l{i}").copy_(linear.weight)
            getattr(theirs, f"bias_{part}_l{i}").copy_(linear.bias)
    x = images()
    sequence = x[:, 0] if kind == "rows" else x.flatten(1)[:, :, None]
    got, want = ours(x), ours.get_submodule("head")(theirs(sequence)[0][:, -1])
    torch.testing.assert_close(got, want, rtol=0, atol=1e-13)
    found = gradients(ours, got)
    F.cross_entropy(want, torch.arange(5)).backward()
    for i, (layer, part), kind_of in product(range(count), (("input", "ih"), ("hidden", "hh")), ("weight", "bias")):
        gradient = getattr(theirs, f"{kind_of}_{part}_l{i}").grad
        torch.testing.assert_close(found[f"rnn{i + 1}.{layer}.weight.{kind_of}"], gradient, rtol=1e-10, atol=1e-13)


def normalize(kind: str, x: Tensor, gates: int, weights: dict[str, Tensor], name: str) -> Tensor:
    """Each gate of x, (samples, gates * H), by itself: gamma (x - mean) / sqrt(variance + eps) + beta."""
    if f"{name}.norm.weight" not in weights:
        return x
    y = x.unflatten(1, (gates, -1))
    axis = {"bn": 0, "ln": 2, "gn": 3, "rms": 2}[kind]
    y = y.unflatten(2, (2, -1)) if kind == "gn" else y
    mean = 0 if kind == "rms" else y.mean(axis, keepdim=True)
    y = (y - mean) / ((y - mean).square().mean(axis, keepdim=True) + 1e-5).sqrt()
    y = y.reshape(x.shape) * weights[f"{name}.norm.weight"]
    return y + weights[f"{name}.norm.bias"] if f"{name}.norm.bias" in weights else y


def by_equations(weights: dict[str, Tensor], x: Tensor, kind: str, cell: str, *, per_step: bool) -> Tensor:
    """The logits of a layer on rows. Cooijmans et al. 2017, eq. 6 to 8; Ba et al. 2016, eq. 4 and 20 to 22; Cho et al. 2014."""

    def linear(name: str, values: Tensor) -> Tensor:
        bias = weights.get(f"{name}.weight.bias")
        y = values @ weights[f"{name}.weight.weight"].T
        return y if bias is None else y + bias

    def norm(name: str, values: Tensor, gates: int = 1) -> Tensor:
        return normalize(kind, values, gates, weights, f"rnn1.{name}")

    gates, rows = GATES[cell], x[:, 0]
    a = linear("rnn1.input", rows)  # (B, T, gates H)
    if not per_step:
        a = norm("input", a.reshape(-1, gates * 6), gates).reshape(a.shape)
    h = c = torch.zeros(len(x), 6, dtype=x.dtype)
    for t in range(8):
        a_t = norm("input", a[:, t], gates) if per_step else a[:, t]
        b_t = norm("hidden", linear("rnn1.hidden", h), gates)
        if cell == "rnn":
            h = torch.tanh(norm("sum", a_t + b_t))
        elif cell == "lstm":
            i, f, g, o = norm("sum", a_t + b_t, 4).split(6, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(norm("cell", c))
        else:
            r, z = torch.sigmoid(norm("sum", a_t[:, :12] + b_t[:, :12], 2)).split(6, dim=1)
            n = torch.tanh(norm("candidate", a_t[:, 12:] + r * b_t[:, 12:]))
            h = (1 - z) * n + z * h
    return linear("head", h)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("at", ["maps", "sum"])
@pytest.mark.parametrize("norm", ["bn", "bn norm.per_step=true", "ln", "gn norm.groups=2", "rms norm.beta=true"])
def test_with_norms_it_computes_the_equations(cell, at, norm):
    kind, *more = norm.split()
    model = network(f"norm={kind}", *more, "norm.eps=1e-5", f"model.cell={cell}", f"model.norm_at={at}")
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    assert any(".norm.weight" in name for name in weights)
    x = images()
    want = by_equations(weights, x, kind, cell, per_step="norm.per_step=true" in more)
    got = model(x)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-11)
    F.cross_entropy(want, torch.arange(5)).backward()
    for name, gradient in gradients(model, got).items():
        torch.testing.assert_close(gradient, weights[name].grad, rtol=1e-7, atol=1e-11, msg=name)


def hidden_inputs(model: nn.Module, x: Tensor) -> Tensor:
    """U h + b' at each step, (T, B, gates H), in training with batch norm on the hidden map alone: an LSTM by its equations."""
    weights = dict(model.named_parameters())
    h, c, found = torch.zeros(len(x), 6, dtype=x.dtype), torch.zeros(len(x), 6, dtype=x.dtype), []
    for row in x[:, 0].unbind(1):
        found.append(h @ weights["rnn1.hidden.weight.weight"].T)
        b = normalize("bn", found[-1], 4, weights, "rnn1.hidden")
        a = row @ weights["rnn1.input.weight.weight"].T + weights["rnn1.input.weight.bias"]
        i, f, g, o = (a + b).split(6, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return torch.stack(found).detach()


HIDDEN = ["norm=bn", "norm.layers=[rnn1.hidden]"]


@pytest.mark.parametrize(("last_step", "own"), [("null", 8), ("3", 3), ("1", 1), ("20", 8)])
def test_running_statistics_for_each_step(last_step, own):
    """One batch moves those of a step by the momentum; those that several steps share, to a weighted mean of their statistics,
    later ones weighing a little more."""
    model = network(*HIDDEN, "norm.per_step=true", f"norm.last_step={last_step}", "norm.momentum=0.2")
    x = images(16)
    inputs = hidden_inputs(model, x)
    model(x)
    norm = model.get_submodule("rnn1.hidden.norm")
    assert len(norm) == own
    for t in range(own - 1):
        torch.testing.assert_close(norm[t].running_mean, 0.2 * inputs[t].mean(0))
        torch.testing.assert_close(norm[t].running_var, 0.8 + 0.2 * inputs[t].var(0))
    sharing = 8 - own + 1
    weights = [(1 - 0.8 ** (1 / sharing)) * 0.8 ** ((sharing - 1 - i) / sharing) for i in range(sharing)]
    assert sum(weights) == pytest.approx(0.2)
    assert max(weights) / min(weights) < 1.25
    mean = sum(w * batch.mean(0) for w, batch in zip(weights, inputs[own - 1 :], strict=True))
    torch.testing.assert_close(norm[-1].running_mean, mean)
    var = sum(w * batch.var(0) for w, batch in zip(weights, inputs[own - 1 :], strict=True))
    torch.testing.assert_close(norm[-1].running_var, 0.8 + var)


def test_evaluation_uses_the_statistics_of_each_step():
    model = network(*HIDDEN, "norm.per_step=true", "norm.momentum=1", "model.cell=rnn")
    x = images(16)
    training = model(x)
    evaluation = model.eval()(x)  # the variances are unbiased ones
    assert not torch.equal(training, evaluation)
    for norm in model.get_submodule("rnn1.hidden.norm"):
        norm.running_var.mul_(15 / 16)
    torch.testing.assert_close(model(x), training)


def test_with_one_step_per_step_is_batch_norm():
    """The module by itself, and in a network whose steps all share the statistics of the first."""
    ours, plain = StepBatchNorm(4, [0.1], eps=1e-5, affine=True).double(), nn.BatchNorm1d(4).double()
    for seed in range(3):
        x = torch.randn(16, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        results = []
        for norm in (ours.at(0), plain):
            y = norm(x)
            results.append([y, *torch.autograd.grad(y.square().sum(), [x, norm.weight, norm.bias])])
        for one, two in zip(*results, strict=True):
            assert torch.equal(one, two)
    assert torch.equal(ours.at(0).eval()(x), plain.eval()(x))
    assert torch.equal(ours[0].running_var, plain.running_var)
    shared, own = network(*HIDDEN), network(*HIDDEN, "norm.per_step=true", "norm.last_step=1")
    for _ in range(3):
        assert torch.equal(shared(images(16)), own(images(16)))
    assert torch.equal(shared.eval()(images()), own.eval()(images()))


@pytest.mark.parametrize(("cell", "norm", "at"), [*product(GATES, ("none", "ln", "bn", "rms", "dyt"), ("maps", "sum"))])
def test_number_of_parameters(cell, norm, at):
    """By formula, with H = 20 and two layers on the rows of 28x28 images."""
    k, h, total = GATES[cell], 20, 20 * 10 + 10
    affine = {"none": 0, "ln": 2, "bn": 2, "rms": 1, "dyt": 2}[norm]
    for f in (28, h):
        total += k * h * f + k * h * h
        biases = 2 * k * h
        if norm == "bn" and at == "maps":
            biases = 0  # which it cancels
        elif norm == "bn":
            biases = k * h if cell == "gru" else 0  # r (U h + b') + W x: not cancelled
        normed = 2 * k * h if at == "maps" else k * h
        total += biases + affine * (normed + h * (cell == "lstm"))
        sites = 2 if at == "maps" else 1 + (cell == "gru")
        total += (norm == "dyt") * (sites + (cell == "lstm"))  # its alphas
    choices = ["model=rnn", "data=mnist", "model.hidden=20", "model.layers=2"]
    config = compose(*choices, f"model.cell={cell}", f"norm={norm}", f"model.norm_at={at}")
    assert sum(row.parameters + row.norm_parameters for row in describe(config)) == total
    assert sum(p.numel() for p in build_model(config).parameters()) == total
