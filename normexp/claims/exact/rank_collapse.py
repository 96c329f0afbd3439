"""Deep networks without a norm lose the rank of their representations at initialization; with batch norm they keep it.

Daneshmand et al. 2020 measure the outputs H (batch, width) of a layer by the soft rank

    r(H) = (trace C)^2 / ||C||_F^2 = (sum of s_i^2)^2 / (sum of s_i^4),    C = H^T H, singular values s_i of H,

a lower bound of the rank, and prove r >= c sqrt(width) for linear networks with batch norm. Without a norm and without
activations, H is a product of Gaussian matrices. In wide networks r then approaches

    1 / (1/batch + 1/inputs + depth/width),

from the second moment of the distribution of squared singular values (with equal sides, the Fuss-Catalan distribution).
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_network, default_config, randn

DEPTH, WIDTH, BATCH = 50, 32, 256
WIDTHS, NETWORKS = (WIDTH, 64, 128), 5
DEPTHS = (1, 2, 5, 10, 20, 50)


def soft_rank(h: Tensor) -> float:
    """(trace C)^2 / ||C||_F^2 of C = H^T H."""
    h = h / h.abs().max()  # deep networks may have outputs whose squares are not representable
    c = h.mT @ h
    return float(c.trace().square() / c.square().sum())


def soft_ranks(norm: str, activation: str, *, width: int = WIDTH, depth: int = DEPTH) -> list[float]:
    """The soft rank of what enters each hidden layer's activation, in normexp's MLP with He initialization; a mean over networks.

    activation: relu, or none for layers without one.
    """
    config = default_config(model="mlp", norm=norm, init="kaiming")
    config = replace(config, model=replace(config.model, depth=depth, width=width))
    ranks = list[list[float]]()
    for _ in range(NETWORKS):
        first, *hidden, _ = build_network(config)[1].values()
        h = randn(BATCH, *first.plan.inputs)
        ranks.append([])
        with torch.no_grad():
            for layer in (first, *hidden):
                layer.activation = nn.Identity()
                h = layer(h)
                ranks[-1].append(soft_rank(h))
                h = h.relu() if activation == "relu" else h
    return [float(mean) for mean in np.mean(ranks, axis=0)]


def compute() -> ExactResult:
    kinds = [(norm, activation) for norm in ("none", "bn", "ln") for activation in ("none", "relu")]
    networks = {kind: soft_ranks(*kind) for kind in kinds}
    by_width = [networks["bn", "none"][-1], *(soft_ranks("bn", "none", width=width)[-1] for width in WIDTHS[1:])]
    numbers = {
        "none_linear": networks["none", "none"][-1],
        "none_relu": networks["none", "relu"][-1],
        "bn_linear": networks["bn", "none"][-1],
        "bn_relu": networks["bn", "relu"][-1],
        "bn_linear_exponent": float(np.polyfit(np.log(WIDTHS), np.log(by_width), 1)[0]),
    }
    title = f"Soft rank at initialization, {WIDTH} units, {BATCH} random inputs, mean of {NETWORKS} networks"
    rows = [(*kind, *(ranks[depth - 1] for depth in DEPTHS)) for kind, ranks in networks.items()]
    of_depths = Table(title, ("norm", "activation", *(f"layer {depth}" for depth in DEPTHS)), rows)
    widths = [(width, r, math.sqrt(width), r / math.sqrt(width)) for width, r in zip(WIDTHS, by_width, strict=True)]
    heads = ("width", "soft rank", "sqrt(width)", "soft rank / sqrt(width)")
    of_widths = Table(f"Batch norm without activations, layer {DEPTH}, mean of {NETWORKS} networks", heads, widths)
    return ExactResult(numbers, (of_depths, of_widths))


ENTRY = ExactClaim("rank-collapse", compute)
