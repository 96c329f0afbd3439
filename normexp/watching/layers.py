"""Find the norms, activations and weights of any network."""

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from normexp.config import ConfigError, show
from normexp.probes.base import ProbedLayer

ACTIVATION = re.compile(
    r"relu|gelu|elu|silu|swish|mish|sigmoid|tanh|softplus|softsign|shrink|threshold|activation", re.I
)
NORM = re.compile(r"norm", re.I)
CHANNELS_SECOND = re.compile(r"[123]d|batch|group|instance|filter", re.I)
"""Names of classes, as in torch, timm and transformers. A norm with the latter in its name has channels in dimension 1."""


class FoundLayer(ProbedLayer):
    """A module that is a weight, a norm or an activation: a layer of its own."""

    def __init__(self, module: nn.Module, kind: str) -> None:
        self.layer, self.kind = module, kind
        self.norm_is_input = self.observed = False
        self.weight = module if kind == "weight" else None
        self.norm = module if kind == "norm" else None
        self.activation = module if kind == "activation" else None


def find_layers(model: nn.Module) -> dict[str, FoundLayer]:
    """The layers by module path, in the order of registration; a module with several paths by its first. Slashes, which separate
    the parts of tags, become underscores. Raises ConfigError if there are none, or if a lazy module has no weights yet."""
    layers: dict[str, FoundLayer] = {}
    for path, module in model.named_modules():
        if any(is_lazy(p) for p in module.parameters(recurse=False)):
            raise ConfigError(
                f"{show(path)} has no weights yet: pass one batch through the network before watching it."
            )
        if kind := kind_of(module):
            name = path.replace("/", "_") or type(module).__name__
            while name in layers:
                name += "_"
            layers[name] = FoundLayer(module, kind)
    if not layers:
        needed = "modules such as nn.Linear, nn.Conv2d, nn.LayerNorm or nn.ReLU"
        raise ConfigError(f"No layers to watch in {type(model).__name__}: it has no {needed}.")
    return layers


def kind_of(module: nn.Module) -> str | None:
    """'weight', 'norm', 'activation', or None for anything else, such as containers. Norms and activations that torch does not
    have are recognized by the name of their class."""
    name, weight = type(module).__name__, getattr(module, "weight", None)
    if isinstance(module, nn.Linear | _ConvNd | nn.Embedding) or name == "Conv1D":  # GPT-2's linear layer
        dense = isinstance(weight, Tensor) and weight.is_floating_point() and not getattr(module, "sparse", False)
        return "weight" if dense else None
    if isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm):  # timm's may contain an activation
        return "norm"
    if next(module.children(), None) is not None or isinstance(module, nn.CrossMapLRN2d):
        return None
    if NORM.search(name) and (hasattr(module, "eps") or hasattr(module, "variance_epsilon") or weight is not None):
        return "norm"
    return "activation" if ACTIVATION.search(name) else None


def channel_axis(module: nn.Module) -> int:
    """The axis of a weight's or norm's output that holds channels (or features)."""
    match module:
        case _ConvNd():
            return -1 - len(module.kernel_size)
        case _NormBase() | nn.GroupNorm():
            return 1
        case nn.LayerNorm() | nn.RMSNorm() if not CHANNELS_SECOND.search(type(module).__name__):
            return -len(module.normalized_shape)
    return 1 if NORM.search(type(module).__name__) and CHANNELS_SECOND.search(type(module).__name__) else -1


class ChannelsFirst:
    """Views of values as (B, C, ...), the layout that probes expect.

    The axis of a weight or norm is known from its type. An activation works on whatever was computed last, so its channels are
    where those of the last weight or norm were.
    """

    def __init__(self, layers: Mapping[str, FoundLayer]) -> None:
        self._axes = {layer.layer: channel_axis(layer.layer) for layer in layers.values() if layer.kind != "activation"}
        self._last = -1, 0  # axis and number of channels

    def called(self, module: nn.Module, output: Tensor) -> None:
        """Note the layout of a weight's or norm's output."""
        axis = self._axes.get(module)
        if axis is not None and -output.dim() <= axis < output.dim():
            self._last = axis, output.shape[axis]

    def __call__(self, module: nn.Module, values: Tensor) -> Tensor:
        axis = self._axes.get(module)
        if axis is None:
            axis, channels = self._last
            sizes = dict(enumerate(values.shape))
            axis = axis % values.dim() if -values.dim() <= axis < values.dim() else -1
            if sizes.get(axis) != channels and channels in values.shape[1:]:
                axis = max(i for i in range(1, values.dim()) if sizes[i] == channels)
        return channels_first(values, axis)


def channels_first(values: Tensor, axis: int) -> Tensor:
    """(B, C, ...), with the channels of `axis`. A tensor without a batch, or a single value, gets a batch of 1."""
    if values.dim() == 0:
        return values.reshape(1, 1)
    axis = axis % values.dim() if -values.dim() <= axis < values.dim() else values.dim() - 1
    return values.unsqueeze(0) if axis == 0 else values.movedim(axis, 1)
