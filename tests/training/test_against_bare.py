"""Compare training runs with an independent script in plain torch (bare.py), which shares no code with the package.

Everything that a run decides is in these numbers: data, split, inputs, initial weights, order, loss, gradients, optimizer,
schedule, evaluation. Once with other random numbers: the same distributions over 20 seeds. Once from the same initial weights
and batches: the same numbers in each step.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from normexp.data import digits
from normexp.training.build import build
from normexp.training.trainer import Trainer
from tests.conftest import compose
from tests.training import bare

SEEDS = range(20)
STEPS = 60
LEAST_P = 1e-4
"""Of each two-sample test: with some 250 of them, chance alone fails one in forty sets of seeds."""


@cache
def held_out():
    """Indices of normexp's test images in scikit-learn's digits, matched by their pixels."""
    images, _ = bare.digits()
    kept = {image.tobytes() for image in digits.load(compose("data=digits").data, None).test_images.astype(float)}
    return np.array([i for i, image in enumerate(images) if image.tobytes() in kept])


def ours(model, norm, seed, *more):
    config = compose(
        *(f"model={model}", f"norm={norm}", f"seed={seed}", "data=digits", "lr=0.1", "batch_size=64", *more),
        *(f"steps={STEPS}", f"eval_every={STEPS}", "log_every=10", "probe='off'", "threads=1"),
    )
    parts, records = build(config), []
    outcome = Trainer(parts, config, log=records.append).train()
    assert outcome.state == "completed"
    scalars = {record.step: record.scalars for record in records if record.step}
    return {
        "val accuracy": scalars[STEPS]["val/accuracy"],
        "test accuracy": scalars[STEPS]["test/accuracy"],
        **{f"gradient norm {step}": of["grad_norm/total"] for step, of in scalars.items()},
        **{f"loss {step}": of["train/loss"] for step, of in scalars.items()},
    }


def theirs(model, norm, seed, **more):
    found = bare.train(model, norm, seed, test=held_out(), steps=STEPS, **more)
    return {
        "val accuracy": found["val_accuracy"],
        "test accuracy": found["test_accuracy"],
        **{f"gradient norm {step}": value for step, value in found["grad_norm"].items()},
        **{f"loss {step}": value for step, value in found["loss"].items()},
    }


@pytest.mark.parametrize("norm", [pytest.param("none", marks=pytest.mark.long), "bn"])
@pytest.mark.parametrize("model", ["mlp", pytest.param("cnn", marks=pytest.mark.long)])
def test_runs_match_plain_torch_in_distribution(model, norm):
    compare([ours(model, norm, seed) for seed in SEEDS], [theirs(model, norm, seed) for seed in SEEDS])


@pytest.mark.long
def test_deep_networks_without_norm_match_plain_torch_in_distribution():
    """20 relu layers are the most sensitive to correlations between the initial weights of the layers."""
    deep = ["model.depth=20", "init=kaiming", "lr=0.02"]
    compare(
        [ours("mlp", "none", seed, *deep) for seed in SEEDS],
        [theirs("mlp", "none", seed, depth=20, kaiming=True, lr=0.02) for seed in SEEDS],
    )


def compare(*sides):
    """Compare samples of normexp and of plain torch: mean, distribution and spread of each number must agree within chance."""
    tags = list(sides[0][0])
    assert tags == list(sides[1][0])
    assert len(tags) == 16
    for tag in tags:
        mine, plain = (np.array([found[tag] for found in side]) for side in sides)
        note = f"{tag}: {mine.mean():.4g} ± {mine.std(ddof=1):.2g}, plain torch {plain.mean():.4g} ± {plain.std(ddof=1):.2g}"
        assert stats.ttest_ind(mine, plain, equal_var=False).pvalue > LEAST_P, note
        assert stats.ks_2samp(mine, plain).pvalue > LEAST_P, note
        assert stats.levene(mine, plain).pvalue > LEAST_P, note


def test_both_use_the_same_test_images():
    assert len(held_out()) == 360
    assert np.bincount(bare.digits()[1][held_out()]).min() >= 35


@pytest.mark.parametrize("norm", ["none", "bn"])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_steps_and_evaluations_match_plain_torch(model, norm):
    steps = 20
    config = compose(
        *(f"model={model}", f"norm={norm}", "data=digits", f"steps={steps}", f"eval_every={steps}", "log_every=1"),
        *("probe='off'", "threads=1"),
    )
    parts, records = build(config), []
    net = bare.network(model, norm)
    with torch.no_grad():
        for mine, plain in zip(parts.model.parameters(), net.parameters(), strict=True):
            plain.copy_(mine)
    pixels = parts.data.train.images.double()
    sets = {
        name: (((split.images.double() - pixels.mean()) / pixels.std(correction=0)).float(), split.labels)
        for name, split in (("train", parts.data.train), ("val", parts.data.val), ("test", parts.data.test))
    }
    before = bare.evaluate(net, *sets["val"])
    twin = build(config).order
    batches = [next(twin) for _ in range(steps)]
    plain = list(bare.descend(net, *sets["train"], batches, lr=0.1))

    assert Trainer(parts, config, log=records.append).train().state == "completed"
    start, *logged = (record.scalars for record in records)
    assert (start["val/loss"], start["val/accuracy"]) == pytest.approx(before, rel=1e-5)
    assert len(logged) == steps
    for step, (of, (loss, grad_norm)) in enumerate(zip(logged, plain, strict=True), start=1):
        found = of["train/loss"], of["grad_norm/total"], of["lr"]
        # Training makes the differences in rounding between two layouts in memory larger.
        assert found[:2] == pytest.approx((loss, grad_norm), rel=1e-3 if step <= 5 else 2e-2)
        assert found[2] == pytest.approx(0.05 * (1 + math.cos(math.pi * (step - 1) / steps)))
    for name in ("val", "test"):
        loss, accuracy = bare.evaluate(net, *sets[name])
        assert logged[-1][f"{name}/loss"] == pytest.approx(loss, rel=2e-2)
        assert logged[-1][f"{name}/accuracy"] == pytest.approx(accuracy, abs=1.01 / len(sets[name][1]))


ARMS = ["norm=none", "norm=ln", "dropout=0.5", "noise=0.5", "lr=1", "model=mlp", "activation=tanh", "init=orthogonal"]


@pytest.mark.parametrize("arm", ARMS)
def test_arms_see_the_same_batches(arm):
    """Split, order and augmentation depend on the seed only."""
    for seed in (0, 2**40):
        shared = [f"seed={seed}", "data.augment=[crop,flip]"]
        one, other = build(compose(*shared)), build(compose(*shared, arm))
        assert one.data.fingerprint == other.data.fingerprint
        for _ in range(25):  # into the second epoch
            mine, theirs = (p.data.train.batch(next(p.order), p.augment) for p in (one, other))
            assert torch.equal(mine[0], theirs[0]) and torch.equal(mine[1], theirs[1])


def test_lr_scales_with_the_batch_size():
    """Goyal et al. 2017: lr is meant for batches of lr_batch."""
    parts, records = build(config := compose("lr=0.2", "lr_batch=256", "batch_size=32", "steps=1", "model=mlp")), []
    Trainer(parts, config, log=records.append).train()
    assert records[-1].scalars["lr"] == pytest.approx(0.2 * 32 / 256)
