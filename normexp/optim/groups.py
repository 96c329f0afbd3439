"""Parameter groups: weight decay for all parameters, or for matrices only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normexp.config import OptimConfig

if TYPE_CHECKING:
    from torch import nn


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[Any]:
    """The model's parameters, as an optimizer takes them. If `decay_norm` is false, those without weight decay (`is_vector`) are
    a second group. A single group if there is nothing to tell apart, as in all checkpoints from before the key existed."""
    if config.decay_norm or config.weight_decay == 0:
        return list(model.parameters())
    vectors = [parameter for name, parameter in model.named_parameters() if is_vector(name, parameter)]
    others = [parameter for name, parameter in model.named_parameters() if not is_vector(name, parameter)]
    return [{"params": others}] * bool(others) + [{"params": vectors, "weight_decay": 0.0}] * bool(vectors)


def is_vector(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a scalar or a vector: gamma, beta, a bias, a gain, a class token. Weight norm's g is one too,
    although torch keeps it in the shape of the weight, (filters, 1, ...), and so are the positions of tokens."""
    return parameter.dim() <= 1 or name.endswith(("parametrizations.weight.original0", ".position.positions"))
