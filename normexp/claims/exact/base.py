"""The interface of exact claims, and the data, norms and networks that several of them use, in float64."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from normexp.claims.verdict import Table
from normexp.compose.validate import validate
from normexp.config import GROUPS, Config, yaml_files
from normexp.models.build import build_model
from normexp.models.layer import Layer, named_layers
from normexp.norms import NORMS, Site
from normexp.streams import stream_seed


@dataclass(frozen=True)
class ExactResult:
    """Result of an exact claim for one seed.

    numbers: the values that the rule tests, by name; every seed has the same names. tables: the formula applied to this
    seed's data. drawing: plain text, at most 78 columns wide.
    """

    numbers: Mapping[str, float]
    tables: tuple[Table, ...]
    drawing: str | None = None


@dataclass(frozen=True)
class ExactClaim:
    """A claim that is computed. computation: draws its data from torch's default generator, in float64."""

    name: str
    computation: Callable[[], ExactResult]

    def compute(self, seed: int) -> ExactResult:
        """Run the computation with the claim's random stream, on one thread so that rounding is reproducible.

        The state of torch's generator and the number of threads are restored afterwards.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream_seed(seed, "exact claim", self.name.replace("-", "_")))
                return self.computation()
        finally:
            torch.set_num_threads(threads)


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


def norm_config(name: str, **keys: Any) -> Any:
    """The default config of a norm, with these keys set; gn has 2 groups, which fit the few channels of exact claims."""
    return replace(default_config(model="resnet", norm=name).norm, **({"groups": 2} if name == "gn" else {}) | keys)


def build_norm(name: str, shape: tuple[int, ...], **keys: Any) -> nn.Module:
    """normexp's own norm for a layer with outputs of this shape (without the batch), with these keys of `norm` set."""
    module = NORMS[name].build(norm_config(name, **keys), Site("layer", shape))
    assert module is not None
    return module.double()


def values_per_mean(name: str, shape: tuple[int, ...], batch_size: int) -> int:
    """The number of values that share a mean in that norm, as normexp counts them."""
    return math.prod(NORMS[name].sizes(norm_config(name), Site("layer", shape), batch_size).values())


def build_network(config: Config, *, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, dict[str, Layer]]:
    """normexp's own network, with a seed drawn from torch's default generator, and its layers by name."""
    model = build_model(replace(config, seed=int(torch.randint(2**62, ())))).to(dtype)
    return model, named_layers(model)


def normalize(x: Tensor, axes: tuple[int, ...], *, eps: float) -> Tensor:
    """x_hat = (x - mean) / sqrt(var + eps), with the mean and the biased variance over the axes."""
    mean = x.mean(axes, keepdim=True)
    var = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (var + eps).sqrt()


def randn(*shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * torch.randn(*shape, dtype=torch.float64)


def set_affine(norm: nn.Module, gamma: Tensor, beta: Tensor) -> None:
    norm.get_parameter("weight").data.copy_(gamma)
    norm.get_parameter("bias").data.copy_(beta)


def max_abs(x: Tensor) -> float:
    return float(x.detach().abs().max())
