"""Rescale the initial weights so that the inputs of all activations start with a given standard deviation."""

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn

from normexp.config import ConfigError
from normexp.models.layer import Layer, named_layers

SAMPLES = 512
"""Samples to measure the standard deviations on. Independent of the batch size, so that the weights are, too."""


def rescale_weights(model: nn.Module, inputs: Tensor, std: float) -> None:
    """Multiply weight and bias of each linear layer and convolution but the last by one factor, which gives its output this
    standard deviation, over all samples, channels and positions.

    The scale of LSUV (Mishkin and Matas 2016, "All you need is a good init", algorithm 1), without its orthogonal weights. The
    paper includes the last layer; here it keeps its scale, which is that of the logits. One forward pass in float32 of inputs
    (B, C, H, W) rescales layer after layer. Norms compute as in training, dropout and noise are off; buffers don't change. Raises
    ConfigError for a layer whose outputs are constant or not finite.
    """
    twin = copy.deepcopy(model).eval()
    layers, originals = named_layers(twin), named_layers(model)
    weighted = [name for name, layer in layers.items() if hasattr(layer, "weight")]
    for name in weighted[:-1]:
        layers[name].get_submodule("weight").register_forward_hook(partial(_rescale, originals[name], name, std, []))
    for layer in layers.values():
        if isinstance(norm := getattr(layer, "norm", None), nn.Module):
            norm.train()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        twin(inputs)


def _rescale(
    layer: Layer, name: str, std: float, calls: list[None], _: nn.Module, __: object, output: Tensor
) -> Tensor:
    """Forward hook: rescale the parameters of `layer` in the first call; returns what it computes with them."""
    if calls:
        return output
    calls.append(None)
    factor = std / max(float(output.std(correction=0)), 1e-300)
    if not (math.isfinite(factor) and factor < 1e30):
        raise ConfigError(
            f"init.input_std={std}: the outputs of layer {name} are constant or not finite; set it to null."
        )
    for parameter in layer.get_submodule("weight").parameters():
        parameter.mul_(factor)
    return output * factor
