"""Exact claims: their rules hold or fail as documented, and a wrong formula does not pass."""

import copy
import math
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from normexp.claims.exact import (
    EXACT,
    axes,
    bias_cancelled,
    detached_stats,
    formula,
    gradient_flows,
    inference_statistics,
    nearly_symmetric,
    rank_collapse,
    scale_law,
    style,
    weight_decay_is_lr,
)
from normexp.claims.exact import fold as exact_fold
from normexp.claims.exact.base import ExactResult, normalize
from normexp.config import yaml_files
from normexp.norms import fold

FAILING: dict[str, set[str]] = {
    "formula": set(),
    "unit-moments": {"skewness", "kurtosis"},
    "identity": set(),
    "axes": set(),
    "worked-example": set(),
    "gradient-flows": set(),
    "bias-cancelled": set(),
    "scale-law": set(),
    "detached-stats": set(),
    "inference-statistics": set(),
    "fold": {"operations_left"},
    "dropout-scale": set(),
    "gradient-growth": {"growth", "growth_scaled", "growth_linear"},
    "batch-estimate": set(),
    "weight-decay-is-lr": set(),
    "style": set(),
    "rank-collapse": set(),
    "nearly-symmetric": set(),
}
"""The measures of each claim whose conditions fail with every seed. Any of them refutes the claim."""


@cache
def claim(name: str) -> Any:
    return OmegaConf.load(yaml_files.folder() / "claim" / f"{name}.yaml")


@cache
def computed(name: str, seed: int) -> ExactResult:
    return EXACT[name].compute(seed)


def holds(condition: Any, number: float) -> bool:
    match condition["is"]:
        case "<=":
            return bool(number <= condition.confirm)
        case ">=":
            return bool(number >= condition.confirm)
        case "within":
            return bool(abs(number - condition.get("center", 0.0)) <= condition.confirm)
    raise AssertionError(condition)


def failing(name: str, numbers: dict[str, float]) -> set[str]:
    return {condition.measure for condition in claim(name).rule if not holds(condition, numbers[condition.measure])}


def test_every_exact_claim_has_its_file():
    assert EXACT.keys() == FAILING.keys()
    assert {name for name in yaml_files.choices("claim") if claim(name).kind == "exact"} == set(EXACT)


@pytest.mark.parametrize("name", EXACT)
def test_verdict(name):
    for seed in claim(name).seeds:
        result = computed(name, seed)
        assert failing(name, dict(result.numbers)) == FAILING[name]
        assert result.numbers.keys() == computed(name, claim(name).seeds[0]).numbers.keys()
        assert all(math.isfinite(number) for number in result.numbers.values())
        assert result.tables
        for table in result.tables:
            assert table.rows
            assert {len(row) for row in table.rows} == {len(table.columns)}
            assert all(math.isfinite(v) for row in table.rows for v in row if not isinstance(v, str))


@pytest.mark.parametrize("name", EXACT)
def test_the_same_seed_gives_the_same_numbers_and_leaves_nothing_behind(name):
    first, *_, last = claim(name).seeds
    before = computed(name, first)
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert EXACT[name].compute(first) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert before != computed(name, last)


def test_the_drawing_of_the_axes():
    drawing = computed("axes", 201).drawing
    assert drawing is not None
    lines = drawing.splitlines()
    assert max(map(len, lines)) <= 78
    # The fronts of the four cubes: the last channel, all channels, the last channel, the last two of them.
    assert lines[6].count("| . . . # |") == 2
    assert lines[6].count("| # # # # |") == lines[6].count("| . . # # |") == 1


REAL_CONFIG, REAL_SHAPES = rank_collapse.default_config, nearly_symmetric.shapes
REAL_BACKWARD, REAL_NORM, REAL_FOLD = gradient_flows.backward, bias_cancelled.build_norm, fold.fold


def backward_without_variance(g: Tensor, x: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
    """dl/dx lacks the path through the variance."""
    to_x_hat, to_var, to_mu, to_x, *others = REAL_BACKWARD(g, x, gamma)
    return to_x_hat, to_var, to_mu, to_x - to_var * 2 * (x - x.mean(0)) / len(x), *others


def layer_norm_for_batch_norm(name: str, *args: Any, **keys: Any) -> nn.Module:
    return REAL_NORM("ln" if name == "bn" else name, *args, **keys)


def layer_norm_for_instance_norm(name: str, *args: Any, **keys: Any) -> nn.Module:
    return REAL_NORM("ln" if name == "in" else name, *args, **keys)


def layer_norm_networks(**choices: str) -> Any:
    return REAL_CONFIG(**{**choices, "norm": {"bn": "ln"}.get(choices["norm"], choices["norm"])})


def shapes_after_the_activation(images: Tensor, activation: str) -> Any:
    """What the norm sees if it comes after the activation."""
    return [(inputs, inputs) for inputs, _ in REAL_SHAPES(images, activation)]


class BiasedRunning(nn.BatchNorm2d):
    """The running variance averages the biased batch variance."""

    def forward(self, x: Tensor) -> Tensor:
        m = x.numel() // x.shape[1]
        kept = self.running_var.clone()
        y = super().forward(x)
        self.running_var.copy_(0.9 * kept + (self.running_var - 0.9 * kept) * (m - 1) / m)
        return y


class Unscaled(nn.Dropout):
    """The kept activations are not scaled."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 - self.p if self.training else 1)


def fold_without_mean(model: nn.Module) -> nn.Module:
    """Folds batch norms as if their running mean were 0."""
    model = copy.deepcopy(model)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.zero_()
    return REAL_FOLD(model)


MISTAKES: list[tuple[str, Any, str, Any, set[str]]] = [
    (
        "formula",
        formula,
        "batch_norm",
        lambda x, gamma, beta, eps=0: formula.misprint(x, gamma, beta),
        {"difference_linear", "difference_conv", "not_finite_without_eps"},
    ),
    ("axes", axes, "AXES", {**axes.AXES, "bn": (0, 2)}, {"difference_bn"}),
    ("worked-example", nn, "BatchNorm2d", BiasedRunning, {"running_var_off", "running_var_from_biased"}),
    ("gradient-flows", gradient_flows, "backward", backward_without_variance, {"off_x", "off_layer"}),
    ("bias-cancelled", bias_cancelled, "build_norm", layer_norm_for_batch_norm, {"gradient_share", "change"}),
    (
        "scale-law",
        scale_law,
        "TINY_EPS",
        1e-5,
        {"output_change", "gradient_to_u_change", "gradient_to_weight_spread", "loss_change_bn"},
    ),
    (
        "detached-stats",
        detached_stats,
        "detached",
        lambda x: normalize(x, (0,), eps=1e-5),
        {"off_prediction", "bias_at_the_end"},
    ),
    (
        "inference-statistics",
        inference_statistics,
        "expected_statistics",
        lambda x, m: (x.mean(0), x.var(0, correction=0)),
        {"variance_off", "variance_over_expected_biased_at_2", "output_off"},
    ),
    ("dropout-scale", nn, "Dropout", Unscaled, {"survivors_off", "drawn_mean_off"}),
    (
        "weight-decay-is-lr",
        weight_decay_is_lr,
        "scheduled_lr",
        lambda step: 0.1 * (1 - 0.1 * 0.05) ** (-2 * step),  # one factor is missing
        {"output_difference", "length_difference"},
    ),
    ("style", style, "build_norm", layer_norm_for_instance_norm, {"in_change", "in_contrast_off", "in_brightness"}),
    (
        "rank-collapse",
        rank_collapse,
        "default_config",
        layer_norm_networks,
        {"bn_linear", "bn_relu"},
    ),
    (
        "nearly-symmetric",
        nearly_symmetric,
        "shapes",
        shapes_after_the_activation,
        {"skewness_ratio", "kurtosis_ratio", "zeros_output"},
    ),
]


@pytest.mark.parametrize(
    ("name", "where", "what", "instead", "measures"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES]
)
def test_what_is_wrong_does_not_pass(*, name, where, what, instead, measures, monkeypatch):
    """One mistake in the formula or in the layer fails the conditions about it, and no others."""
    monkeypatch.setattr(where, what, instead)
    assert failing(name, dict(EXACT[name].compute(201).numbers)) == measures


def test_a_fold_that_changes_the_outputs_saves_nothing(monkeypatch):
    monkeypatch.setattr(exact_fold, "fold", fold_without_mean)
    numbers = EXACT["fold"].compute(201).numbers
    assert numbers["operations_left"] >= numbers["operations_as_trained"] > 0


def test_gradients_grow_as_the_theory_says():
    """Yang et al. 2019: pi/(pi-1) with relu, whatever the scale of the weights, and (B-2)/(B-3) without.

    The bounds are four standard deviations between seeds, measured over 16 seeds.
    """
    for seed in (201, 202, 203):
        numbers = computed("gradient-growth", seed).numbers
        assert numbers["growth"] == pytest.approx(math.pi / (math.pi - 1), abs=0.03)
        assert numbers["growth_scaled"] == pytest.approx(math.pi / (math.pi - 1), abs=0.03)
        assert numbers["growth_linear"] == pytest.approx(6 / 5, abs=0.07)
        assert numbers["growth_none"] == pytest.approx(1, abs=0.05)
        assert numbers["growth_ln"] == pytest.approx(1, abs=0.1)
        assert numbers["growth_none_scaled"] == pytest.approx(4, abs=0.2)
        assert numbers["growth_skips_far_from_input"] < 1.15


def test_weight_decay_before_batch_norm_is_torchs_sgd_with_a_growing_lr():
    """With torch's own layers and optimizer."""
    x, y = torch.randn(50, 8, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)
    torch.manual_seed(0)
    one = nn.Sequential(
        nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6, eps=1e-30, affine=False), nn.Tanh(), nn.Linear(6, 1)
    ).double()
    two = copy.deepcopy(one)
    lr, decay, losses = 0.3, 0.1, []
    for net, weight_decay in ((one, decay), (two, 0.0)):
        sgd = torch.optim.SGD(
            [{"params": net[0].parameters(), "weight_decay": weight_decay}, {"params": net[3].parameters()}], lr
        )
        losses.append([])
        for t in range(60):
            if weight_decay == 0:
                sgd.param_groups[0]["lr"] = lr * (1 - lr * decay) ** -(2 * t + 1)
            sgd.zero_grad()
            loss = (net(x) - y).square().mean()
            loss.backward()
            sgd.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert losses[0][-1] < 0.9 * losses[0][0]
    assert torch.allclose(two[0].weight * (1 - lr * decay) ** 60, one[0].weight, rtol=1e-9)


def test_instance_norm_cancels_contrast_and_brightness():
    """IN(a x + b) = (x - mu) / sqrt(var + eps / a^2), from numpy's moments of each image."""
    rng = np.random.default_rng(1)
    x, (a, b) = rng.normal(3, 2, (2, 3, 5, 4)), rng.uniform(0.5, 2, (2, 2, 3, 1, 1))
    mean, var = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    for eps in (1e-12, 1e-5, 1.0):
        y = style.apply("in", torch.from_numpy(a * x + b), eps=eps).numpy()
        np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + eps / a**2), atol=1e-12)


def test_soft_rank_counts_directions():
    rng = np.random.default_rng(1)
    u, _ = np.linalg.qr(rng.normal(size=(9, 4)))
    v, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    for s in ([1, 1, 1, 1], [2, 2, 0, 0], [1, 1e-3, 1e-3, 1e-3], [1e-200, 1e-200, 5e-201, 0], [3, 2, 1, 0.5]):
        relative = np.array(s) / s[0]
        want = (relative**2).sum() ** 2 / (relative**4).sum()
        assert rank_collapse.soft_rank(torch.from_numpy(u * s @ v)) == pytest.approx(want, rel=1e-9)


def test_without_a_norm_the_rank_falls_as_that_of_products_of_gaussian_matrices():
    """Of wide matrices, 1 / rank is the sum of 1 / n over all their sides: batch, 64 inputs and each layer.

    At these sizes it is 1 % less, and seeds have a standard deviation of 0.6 %.
    """
    torch.manual_seed(1)
    ranks = rank_collapse.soft_ranks("none", "none", width=256, depth=4)
    for layers, rank in enumerate(ranks, start=1):
        assert rank == pytest.approx(1 / (1 / rank_collapse.BATCH + 1 / 64 + layers / 256), rel=0.035)


def test_the_shape_of_sums_of_independent_inputs():
    """Cumulants add up. All 4^5 combinations of inputs that are 0, 0, 0 or 1, so that they are exactly independent."""
    u = torch.cartesian_prod(*[torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)] * 5)
    weights = torch.tensor([1.0, -0.5, 0.3, 2.0, -1.0], dtype=torch.float64)
    p, v = 1 / 4, 3 / 16
    k3, k4 = v * (1 - 2 * p), v * (1 - 6 * v)
    skewness, kurtosis, zeros = nearly_symmetric.shape_of(u)
    assert (skewness, kurtosis, zeros) == pytest.approx((k3 / v**1.5, abs(k4) / v**2, 1 - p))
    skewness, kurtosis, _ = nearly_symmetric.shape_of((u @ weights)[:, None])
    var = float(weights.square().sum()) * v
    assert skewness == pytest.approx(abs(float(weights.pow(3).sum()) * k3) / var**1.5)
    assert kurtosis == pytest.approx(abs(float(weights.pow(4).sum()) * k4) / var**2)


def test_a_gaussian_would_pass_for_one():
    """The shape stays what it was, and the rule's lines for it are not so tight that nothing could stay below them."""
    rule = {condition.measure: condition for condition in claim("unit-moments").rule}
    for seed in (201, 202, 203):
        assert computed("unit-moments", seed).numbers["change_of_shape"] < 1e-10
        (gaussian,) = (row for row in computed("unit-moments", seed).tables[0].rows if row[:2] == ("Gaussian", "y"))
        assert holds(rule["skewness"], abs(gaussian[-2]))
        assert holds(rule["kurtosis"], abs(gaussian[-1]))


def test_claims_are_listed_without_torch():
    check = (
        "import sys; from normexp.cli import main; main(['claims']); "
        "print([n for n in ('torch', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "higher-lr" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
