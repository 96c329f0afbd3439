"""Exact claims: a wrong formula or layer does not pass."""

import copy
from typing import Any

import pytest
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
from normexp.claims.exact.base import normalize
from normexp.norms import fold
from tests.claims.exact_claims import failing

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


def batch_norm_for_instance_norm(name: str, *args: Any, **keys: Any) -> nn.Module:
    return REAL_NORM("bn", *args, **keys)


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
        "style",
        style,
        "build_norm",
        batch_norm_for_instance_norm,
        {"in_change", "in_contrast_off", "in_brightness", "loss_bn_over_in"},
    ),
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
