"""Multi-layer perceptron: fc1 ... fcN and the head, on vectors or flattened images."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import repeat

from normexp.config import ModelConfig, number
from normexp.models.base import LayerPlan, Model, Module, Planner, Shape


@dataclass(frozen=True, kw_only=True)
class MLP(ModelConfig):
    depth: int = number(minimum=1)
    width: int = number(minimum=1)
    widths: tuple[int, ...] | None = number(minimum=1)


def layers(config: MLP, plan: Planner, image: Shape, classes: int) -> list[LayerPlan]:
    plans = []
    inputs = image
    widths = repeat(config.width, config.depth) if config.widths is None else config.widths
    for i, width in enumerate(widths, start=1):
        plans.append(plan.linear(f"fc{i}", inputs, width, *plan.hidden))
        inputs = plans[-1].outputs
    return [*plans, plan.linear("head", inputs, classes, "weight")]


def wire(config: MLP, layers: dict[str, Module]) -> Module:
    from torch import nn

    return nn.Sequential(OrderedDict({"flatten": nn.Flatten(), **layers}))


ENTRY = Model(name="mlp", title="multi-layer perceptron", config=MLP, layers=layers, wire=wire)
