"""The output W u + b of a linear layer is more symmetric and less sparse than its input u, if that is the output of an activation
(Ioffe and Szegedy 2015, section 3.2).

Skewness E[(x - mu)^3] / sigma^3 and excess kurtosis E[(x - mu)^4] / sigma^4 - 3 are 0 for a Gaussian. For independent inputs with
variance v and cumulants k_3 and k_4 they are, as cumulants of independent variables add up,

    skewness = sum_j w_j^3 k_3 / (sum_j w_j^2 v)^1.5        excess kurtosis = sum_j w_j^4 k_4 / (sum_j w_j^2 v)^2,

which fall with the number of inputs. The inputs of a real network depend on each other, so here they are measured.
"""

from dataclasses import replace

import torch
from torch import Tensor

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_network, default_config

ACTIVATIONS = ("relu", "tanh", "sigmoid")


def shape_of(x: Tensor) -> tuple[float, float, float]:
    """Mean absolute skewness and excess kurtosis of the columns that are not constant, and the share of zeros of all."""
    varying = x[:, x.std(0) > 0]
    z = (varying - varying.mean(0)) / varying.std(0, correction=0)
    skewness, kurtosis = z.pow(3).mean(0), z.pow(4).mean(0) - 3
    return float(skewness.abs().mean()), float(kurtosis.abs().mean()), float((x == 0).double().mean())


def shapes(images: Tensor, activation: str) -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """For each hidden layer after the first: the shape of its inputs, and of its linear part's outputs."""
    config = replace(default_config(model="mlp", norm="none", init="kaiming"), activation=activation)
    _, layers = build_network(config)
    first, *hidden, _ = layers.values()
    u, found = first(images), []
    for layer in hidden:
        found.append((shape_of(u), shape_of(layer.get_submodule("weight")(u))))
        u = layer(u)
    return found


def compute() -> ExactResult:
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().data)
    images = (images - images.mean()) / images.std()
    with torch.no_grad():
        found = {activation: shapes(images, activation) for activation in ACTIVATIONS}
    before, after = (torch.tensor(part).mean(0).tolist() for part in zip(*found["relu"], strict=True))
    numbers = {
        "skewness_ratio": after[0] / before[0],
        "kurtosis_ratio": after[1] / before[1],
        "zeros_input": before[2],
        "zeros_output": after[2],
    }
    rows = [
        (activation, layer, of, *shape)
        for activation, layers in found.items()
        for layer, pair in enumerate(layers, start=2)
        for of, shape in zip(("inputs", "outputs"), pair, strict=True)
    ]
    heads = ("activation", "layer", "of its", "skewness", "excess kurtosis", "share of zeros")
    title = f"Mean absolute values over the units of each linear layer, over {len(images):,} digits"
    return ExactResult(numbers, (Table(title, heads, rows),))


ENTRY = ExactClaim("nearly-symmetric", compute)
