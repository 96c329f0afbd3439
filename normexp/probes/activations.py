"""What enters and what leaves each activation, as histograms of a sample of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from normexp.probes.histogram import Sampler, histograms
from normexp.record import Histogram


class ActivationLook:
    """A context in which one forward pass is watched; its hooks are gone when it ends.

    activations: the modules to watch, by the name of their layer.
    """

    def __init__(self, activations: Mapping[str, nn.Module], sampler: Sampler) -> None:
        self._activations, self._sampler = activations, sampler
        self._samples: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> ActivationLook:
        for name, module in self._activations.items():
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._samples[f"activation/{name}/in"] = self._sampler(inputs[0])
            self._samples[f"activation/{name}/out"] = self._sampler(output)

        return hook

    def histograms(self) -> dict[str, Histogram]:
        """By tag: activation/<layer>/in and activation/<layer>/out."""
        return dict(zip(self._samples, histograms(list(self._samples.values())), strict=True)) if self._samples else {}


def find_activations(layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The activation of each layer that has one."""
    found = {name: getattr(layer, "activation", None) for name, layer in layers.items()}
    return {name: module for name, module in found.items() if isinstance(module, nn.Module)}
