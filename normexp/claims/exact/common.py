"""Data, norms and networks that several exact claims use, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.compose.validate import validate
from normexp.config import GROUPS, Config, yaml_files
from normexp.models.build import build_model
from normexp.models.layer import Layer, named_layers
from normexp.norms import NORMS, Site


@cache
def default_config(**choices: str) -> Any:
    """The default Config with these group choices, on images (1, 8, 8).

    Reads the yaml files without Hydra, which may already be initialized.
    """
    from omegaconf import OmegaConf

    top = OmegaConf.create({key: value for key, value in yaml_files.root().items() if key not in ("defaults", "hydra")})
    names = {group: yaml_files.default_choice(group) for group in GROUPS} | {"data": "digits"} | choices
    groups = {group: yaml_files.choice(group, str(name)) for group, name in names.items()}
    return validate({**cast(dict[str, Any], OmegaConf.to_container(top, resolve=True)), **groups})


def build_norm(name: str, shape: tuple[int, ...], **keys: Any) -> nn.Module:
    """normexp's own norm for a layer with outputs of this shape (without the batch), with these keys of `norm` set."""
    module = NORMS[name].build(_norm_config(name, keys), Site("layer", shape))
    assert module is not None
    return module.double()


def values_per_mean(name: str, shape: tuple[int, ...], batch_size: int, **keys: Any) -> int:
    """The number of values that share a mean in that norm, as normexp counts them."""
    return NORMS[name].values(_norm_config(name, keys), Site("layer", shape), batch_size)


def _norm_config(name: str, keys: Mapping[str, Any]) -> Any:
    return replace(default_config(model="resnet", norm=name).norm, **keys)


def build_network(config: Config, *, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, dict[str, Layer]]:
    """normexp's own network, with a seed drawn from torch's default generator, and its layers by name."""
    seed = int(torch.randint(2**62, ()))
    model = build_model(replace(config, seed=seed)).to(dtype)
    return model, named_layers(model)


def randomize_batch_norms(model: nn.Module) -> None:
    """Set the running statistics, gamma and beta of all batch norms far from the identity, as after training."""
    for norm in (module for module in model.modules() if isinstance(module, _BatchNorm)):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 5)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()


def normalize(x: Tensor, axes: tuple[int, ...], *, eps: float) -> Tensor:
    """x_hat = (x - mean) / sqrt(var + eps), with the mean and the biased variance over the axes."""
    mean = x.mean(axes, keepdim=True)
    var = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (var + eps).sqrt()


def randn(*shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * torch.randn(*shape, dtype=torch.float64)


def set_affine(norm: nn.Module, gamma: Tensor, beta: Tensor) -> None:
    with torch.no_grad():
        cast(Tensor, norm.weight).copy_(gamma)
        cast(Tensor, norm.bias).copy_(beta)


def max_abs(x: Tensor) -> float:
    return float(x.detach().abs().max())
