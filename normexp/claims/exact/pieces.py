"""What the exact claims share: data and the program's own norms and networks, in float64. Imports torch: only from inside of
a computation."""

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
from normexp.models.layer import Layer, build_model, named_layers
from normexp.norms import NORMS, Site


@cache
def config(**chosen: str) -> Config:
    """The default config with these choices of groups, on images of 1x8x8; read without Hydra, which may be at work already."""
    from omegaconf import OmegaConf

    top = OmegaConf.create({key: value for key, value in yaml_files.root().items() if key not in ("defaults", "hydra")})
    names = {group: yaml_files.default_choice(group) for group in GROUPS} | {"data": "digits"} | chosen
    groups = {group: yaml_files.choice(group, str(name)) for group, name in names.items()}
    return validate({**cast(dict[str, Any], OmegaConf.to_container(top, resolve=True)), **groups})


def norm(name: str, shape: tuple[int, ...], **keys: Any) -> nn.Module:
    """The program's own norm, behind a layer whose outputs have this shape, with some keys of `norm` set."""
    module = NORMS[name].build(_norm_config(name, keys), Site("layer", shape))
    assert module is not None
    return module.double()


def values(name: str, shape: tuple[int, ...], batch_size: int, **keys: Any) -> int:
    """How many values share a mean there, as the program counts them."""
    return NORMS[name].values(_norm_config(name, keys), Site("layer", shape), batch_size)


def _norm_config(name: str, keys: Mapping[str, Any]) -> Any:
    return replace(config(model="resnet", norm=name).norm, **keys)


def network(chosen: Config, *, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, dict[str, Layer]]:
    """The program's own network, with weights that come of torch's generator as it stands, and its layers by name."""
    seed = int(torch.randint(2**62, ()))
    model = build_model(replace(chosen, seed=seed)).to(dtype)
    return model, named_layers(model)


def with_statistics(model: nn.Module) -> nn.Module:
    """The network at test time, with batch norms that are far from the identity, as after some training."""
    for norm in (module for module in model.modules() if isinstance(module, _BatchNorm)):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 5)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
    return model.eval()


def normalise(x: Tensor, axes: tuple[int, ...], *, eps: float) -> Tensor:
    """x_hat = (x - mean) / sqrt(var + eps), with the mean and the biased variance over the axes."""
    mean = x.mean(axes, keepdim=True)
    var = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (var + eps).sqrt()


def randn(*shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * torch.randn(*shape, dtype=torch.float64)


def set_affine(module: nn.Module, gamma: Tensor, beta: Tensor) -> None:
    with torch.no_grad():
        cast(Tensor, module.weight).copy_(gamma)
        cast(Tensor, module.bias).copy_(beta)


def largest(x: Tensor) -> float:
    """Of the absolute values."""
    return float(x.detach().abs().max())


def gradient(output: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Of a loss, a number, to each of the inputs."""
    return torch.autograd.grad(output, inputs)
