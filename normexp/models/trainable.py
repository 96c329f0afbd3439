"""Train a part of the parameters: those of the norms, or as many random weights (Frankle et al. 2021, sections 3 and 4)."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from normexp.config import Config
from normexp.models.layer import named_layers
from normexp.optim.groups import is_vector
from normexp.streams import stream_seed


def freeze_others(model: nn.Module, config: Config) -> None:
    """Set the gradients of all entries that `trainable` excludes to 0, so that they keep their initial values.

    Gradient norms and clipping then refer to the trained entries.
    """
    if config.trainable == "all":
        return
    masks, zero = dict(_masks(model, config)), torch.zeros(())
    for parameter in model.parameters():
        if parameter in masks:
            parameter.register_hook(partial(torch.where, masks[parameter], other=zero))
        else:
            parameter.register_hook(torch.zeros_like)


def _masks(model: nn.Module, config: Config) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Masks of the trained entries of parameters; parameters that are not listed are frozen.

    random: each layer's weights have as many trained entries as its norm has parameters. A layer with a norm but no weights
    passes its number on to the next layer.
    """
    count = 0
    for name, layer in named_layers(model).items():
        parts = {part: dict(child.named_parameters()) for part, child in layer.named_children()}
        norms = list(parts.get("norm", {}).values())
        weights = [p for each, p in parts.get("weight", {}).items() if not is_vector(each, p)]
        if config.trainable == "norm":
            yield from ((p, torch.ones_like(p, dtype=torch.bool)) for p in norms)
            continue
        count += sum(p.numel() for p in norms)
        trained = torch.zeros(sum(p.numel() for p in weights), dtype=torch.bool)
        generator = torch.Generator().manual_seed(stream_seed(config.seed, "trainable weights", name))
        trained[torch.randperm(len(trained), generator=generator)[:count]] = True
        count -= int(trained.sum())
        for p, mask in zip(weights, trained.split([p.numel() for p in weights]), strict=True):
            yield p, mask.reshape(p.shape).to(p.device)
