"""Checks of what `watch` is called with."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from normexp.config import ConfigError, show, suggest
from normexp.config.reader import convert
from normexp.models.base import matches
from normexp.probes import PROBES


def unwrap(model: nn.Module) -> nn.Module:
    """The network itself, of one that torch.compile returned. Raises ConfigError for what can't be watched."""
    if not isinstance(model, nn.Module):
        raise ConfigError(f"watch needs a torch network (nn.Module), not {show(type(model).__name__)}.")
    if isinstance(model, DataParallel):
        raise ConfigError(
            "DataParallel trains copies of the network, which can't be watched: use one GPU or DistributedDataParallel."
        )
    if isinstance(model, DistributedDataParallel):
        raise ConfigError(
            "Pass the network inside of DistributedDataParallel, model.module, and watch it in one process."
        )
    inner = getattr(model, "_orig_mod", model)
    return inner if isinstance(inner, nn.Module) else model


def check_names(probes: Sequence[str], layers: Sequence[str], found: list[str], batch_size: int | None) -> None:
    """Raise ConfigError for probes that don't exist or can't work here, and patterns that match no layer."""
    for key, value in (("probes", probes), ("layers", layers)):
        if isinstance(value, str):
            raise ConfigError(f"{key} must be a list, such as [{show(value)}].")
    for name in probes:
        if name not in PROBES:
            raise ConfigError(
                f"probes: unknown probe {show(name)}.{suggest(str(name), PROBES)} Probes: {', '.join(PROBES)}."
            )
    if "landscape" in probes:
        raise ConfigError("probes: landscape computes the loss itself, so it only works with normexp train.")
    if "noise" in probes and batch_size is None:
        raise ConfigError("probes: noise needs batch_size, the number of samples per update.")
    for pattern in layers:
        if not any(matches(name, [pattern]) for name in found):
            first = ", ".join(found[:5])
            raise ConfigError(
                f"layers: no layer matches {show(pattern)}.{suggest(str(pattern), found)} The first ones: {first}."
            )


def integer(key: str, value: Any, *, minimum: int = 1) -> int:
    """The value, if it is an integer of at least `minimum`. Raises ConfigError."""
    return int(
        convert(value, int, key, {"above": -math.inf, "minimum": minimum, "below": math.inf, "maximum": math.inf})
    )


def number(key: str, value: Any) -> float:
    """The value as a float. Raises ConfigError."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{key} must be a number, not {show(type(value).__name__)}.") from error


def scalar(loss: Any) -> Tensor:
    """The loss without its graph, on its device: (), float64. Raises ConfigError."""
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise ConfigError(
                f"loss must be a single number, not a tensor of shape {tuple(loss.shape)}: pass loss.mean()."
            )
        return loss.detach().reshape(()).double()
    return torch.tensor(number("loss", loss), dtype=torch.float64)
