"""The landscape against the definitions of Santurkar et al. 2018, computed on copies of the network in float64."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from normexp.models.build import build_model
from normexp.models.layer import named_layers
from normexp.probes.base import Step
from normexp.probes.landscape import LossSurface, along_gradient
from tests.conftest import compose
from tests.probes.watcher import Watcher, images
from tests.training.short import train_and_record

LANDSCAPE = ["probe=landscape", "probe.landscape_every=1"]


def loss_and_gradient(model, inputs, labels):
    twin = copy.deepcopy(model).train()
    loss = F.cross_entropy(twin(inputs), labels)
    return loss.item(), dict(
        zip(dict(twin.named_parameters()), torch.autograd.grad(loss, list(twin.parameters())), strict=True)
    )


def moved(model, changes):
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.add_(changes.get(name, 0.0))
    return twin


def norm(gradients):
    return math.sqrt(sum(g.square().sum().item() for g in gradients.values()))


@pytest.fixture(
    scope="module", params=["model=mlp norm=ln", "norm=bn", "model=resnet model.depth=8 model.width=4 norm=none"]
)
def snapshot(request):
    config = compose(*request.param.split(), *LANDSCAPE)
    model = build_model(config).double()
    batch = images(dtype=torch.float64)
    before = copy.deepcopy(model)
    watcher = Watcher(model, config, lr=0.2)
    return before, watcher.model, batch, watcher(*batch).scalars, watcher


def test_along_the_gradient(snapshot):
    before, _, batch, found, _ = snapshot
    _, gradient = loss_and_gradient(before, *batch)
    losses, changes, betas = [], [], []
    for i in range(1, 9):
        step = 0.2 * i / 2  # from half the learning rate to four of it
        loss, there = loss_and_gradient(moved(before, {n: -step * g for n, g in gradient.items()}), *batch)
        change = norm({n: there[n] - g for n, g in gradient.items()})
        losses.append(loss)
        changes.append(change)
        betas.append(change / (step * norm(gradient)))
    for tag, want in {
        "loss_min": min(losses),
        "loss_max": max(losses),
        "loss_range": max(losses) - min(losses),
        "gradient_change": max(changes),
        "gradient_change_min": min(changes),
        "effective_beta": max(betas),
    }.items():
        assert found[f"landscape/{tag}"] == pytest.approx(want, rel=1e-9), tag


def test_covariate_shift(snapshot):
    """Definition 2.1: the layers before this one have been updated, this one and those after it have not."""
    before, after, batch, found, _ = snapshot
    _, gradient = loss_and_gradient(before, *batch)
    updates = {n: new.detach() - dict(before.named_parameters())[n].detach() for n, new in after.named_parameters()}
    layers = list(named_layers(before))
    for i, layer in enumerate(layers):
        if not list(named_layers(before)[layer].parameters()):
            continue
        if i == 0:
            assert f"shift_cosine/{layer}" not in found
            continue
        in_front = {n: u for n, u in updates.items() if n.startswith(tuple(f"{name}." for name in layers[:i]))}
        _, shifted = loss_and_gradient(moved(before, in_front), *batch)
        old, new = (torch.cat([g[n].flatten() for n in g if n.startswith(f"{layer}.")]) for g in (gradient, shifted))
        assert found[f"shift_cosine/{layer}"] == pytest.approx(F.cosine_similarity(old, new, dim=0).item(), rel=1e-9)
        assert found[f"shift_distance/{layer}"] == pytest.approx((old - new).norm().item(), rel=1e-9)


def test_a_flat_loss():
    before = torch.nn.Linear(1, 2, bias=False).double()
    inputs, labels = torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.long)
    here = LossSurface(Step(1, 1, before, inputs, labels, 0.1))
    _, gradient = here(here.weights)
    flat = along_gradient(here, gradient, 0.1)
    assert flat["loss_range"] == 0  # no input reaches the weights
    assert flat["gradient_change"] == 0


def test_dropout_is_that_of_the_step_and_is_not_disturbed():
    config = compose("dropout=0.5", *LANDSCAPE)
    batch = images()
    model = build_model(config)
    torch.manual_seed(3)
    watcher = Watcher(copy.deepcopy(model), config, lr=1e-6)
    found = watcher(*batch)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    with torch.no_grad():
        loss = F.cross_entropy(model.train()(batch[0]), batch[1]).item()
    assert torch.equal(after, torch.get_rng_state())
    # So close to the weights, the loss is that of the step, with the same values dropped.
    assert found.scalars["landscape/loss_max"] == pytest.approx(loss, rel=1e-4)


def test_when_it_is_due():
    config = compose("probe=landscape", "probe.landscape_every=4", "probe.landscape_steps=[6]")
    watcher = Watcher(build_model(config), config, total=9)
    seen = [n for n in range(1, 10) if (f := watcher(*images(seed=n))) and "landscape/loss_min" in f.scalars]
    assert seen == [1, 4, 6, 8, 9]


@pytest.mark.parametrize("net", ["activation=sigmoid model.depth=8 norm=none", "norm=bn", "norm=ln"])
def test_half_precision_has_the_numbers_of_float32(net):
    """fp16 has nothing between 0 and 6e-8: without loss scaling, the gradients of a deep sigmoid network would be 0."""
    options = ["model=mlp", *net.split(), *LANDSCAPE, "probe.every=1", "data.train_size=200", "steps=1"]
    half, single = (train_and_record(*options, *more)[0][0].scalars for more in (["amp=fp16"], []))
    tags = [tag for tag in single if tag.startswith(("landscape/", "shift_"))]
    assert len(tags) > 10
    for tag in tags:
        # Where a number is a small difference of large ones, 16 bits are as good as their rounding of the large ones.
        kind, _, layer = tag.partition("/")
        absolute = {"landscape": 2e-3 * ("loss" in layer), "shift_cosine": 1e-3}.get(kind)
        absolute = 5e-3 * single[f"grad_weight/{layer}"] if absolute is None else absolute
        assert half[tag] == pytest.approx(single[tag], rel=0.1, abs=absolute), tag


def test_a_scale_that_overflows_is_lowered():
    generator = torch.Generator().manual_seed(0)
    net = torch.nn.Linear(4, 3)
    inputs, labels = torch.randn(8, 4, generator=generator), torch.randint(3, (8,), generator=generator)
    torch.nn.init.normal_(net.weight, generator=generator)

    def autocast():
        return torch.autocast("cpu", torch.float16)

    usual, too_large = (
        LossSurface(Step(1, 1, net, inputs, labels, 0.1, autocast, scale))(dict(net.named_parameters()))
        for scale in (2.0**10, torch.tensor(2.0**40))
    )
    assert too_large[0] == usual[0]
    for name, gradient in usual[1].items():
        torch.testing.assert_close(too_large[1][name], gradient, rtol=1e-2, atol=1e-5)
