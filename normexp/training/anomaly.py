"""debug=anomaly: where a value first stops being finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from normexp.models.layer import named_layers


class AnomalyError(Exception):
    """A value is not finite, or its gradient; says where, and what went in."""


@contextmanager
def watching(model: nn.Module, *, gradients: bool = True) -> Iterator[None]:
    """Within it, each part of each layer raises AnomalyError when in training what leaves it, or the gradient that comes back to
    it, is not finite for the first time. Each check waits for the device.

    gradients: not where a loss is scaled, which makes them infinite now and then without any harm.

    Hooks on modules see what torch's own anomaly mode does not: infinities, and the layer's name.
    """
    check = partial(_check, model, gradients)
    hooks = [
        part.register_forward_hook(partial(check, f"{layer}.{name}"))
        for layer, parts in named_layers(model).items()
        for name, part in parts.named_children()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check(  # noqa: PLR0917 - torch gives a hook the last three
    model: nn.Module, gradients: bool, name: str, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    # Neither evaluations nor the weights that a probe tries in the parameters' place are training.
    tried = not isinstance(next(model.parameters()), nn.Parameter)
    if tried or not part.training or torch.is_inference_mode_enabled():
        return
    for parameter, value in part.named_parameters():
        if bad := _not_finite(value):
            raise AnomalyError(f"{bad} in {name}'s {parameter}, after the update before")
    if bad := _not_finite(output):
        raise AnomalyError(f"{bad} in what leaves {name}; what entered it was at most {_largest(inputs[0])}")
    if gradients and output.requires_grad:
        output.register_hook(partial(_check_gradient, name, _largest(output)))


def _check_gradient(name: str, largest: str, gradient: Tensor) -> None:
    if bad := _not_finite(gradient):
        raise AnomalyError(f"{bad} in the gradient that comes back to {name}; what left it was at most {largest}")


def _not_finite(values: Tensor) -> str | None:
    """How many values are not finite, in words; None where all are."""
    count = int((~torch.isfinite(values)).sum())
    return f"{count:,} of {values.numel():,} values are not finite" if count else None


def _largest(values: Tensor) -> str:
    return f"{float(values.detach().abs().max()):.4g}"
