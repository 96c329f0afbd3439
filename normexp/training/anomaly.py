"""debug=anomaly: find the layer in which a value first becomes non-finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from normexp.models.layer import named_layers


class AnomalyError(Exception):
    """A value or a gradient is not finite. The message names the layer and the size of its input."""


@contextmanager
def detect_anomalies(model: nn.Module, *, gradients: bool = True) -> Iterator[None]:
    """Raise AnomalyError as soon as an output of a layer's part, or its gradient, is not finite in training.

    Each check waits for the device. gradients: must be False with loss scaling, which overflows now and then by design.
    Unlike torch's own anomaly mode, the hooks also catch infinities, and know the name of the layer.
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


def _check(  # noqa: PLR0917 - torch passes the last three to a hook
    model: nn.Module, gradients: bool, name: str, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    # Skip evaluations, and probes that call the model with other tensors in the place of its parameters.
    substituted = not isinstance(next(model.parameters()), nn.Parameter)
    if substituted or not part.training or torch.is_inference_mode_enabled():
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
    """Count the non-finite values, in words. Returns None if all are finite."""
    count = int((~torch.isfinite(values)).sum())
    return f"{count:,} of {values.numel():,} values are not finite" if count else None


def _largest(values: Tensor) -> str:
    return f"{float(values.detach().abs().max()):.4g}"
