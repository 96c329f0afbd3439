"""Recurrent networks on the rows or pixels of an image, or on vectors: Elman's (`rnn`), LSTM and GRU cells as in torch.

The last hidden state is the input of the head. A recurrent layer rnn1 has these parts, each with a name of its own:

    rnn1.input       a = W x + b, for all time steps
    rnn1.hidden      b = U h + b', h of the step before
    rnn1.sum         with norm_at=sum: the norm of a + b; of a GRU, for the gates r and z
    rnn1.candidate   with norm_at=sum: the norm of a GRU's a + r b, the input of its gate n
    rnn1.cell        of an LSTM: the norm of its cell state, before the last tanh; the state itself is not normalized
    rnn1.f.first     the gate f at the first time step, for probes only; also `middle` and `last`, and other gates
    rnn1.out         the hidden states of all steps, with dropout

norm_at=maps normalizes a and b separately, as Cooijmans et al. 2017 (eq. 6 to 8) do with batch norm, and Ba et al. 2016 (eq. 20
to 22) with layer norm. norm_at=sum: Ba et al.'s eq. 4, "the summed inputs". Each gate is normalized by itself. `norm.layers`
chooses among these, as in norm.layers=["*.hidden"].
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from normexp.config import ConfigError, ModelConfig, number
from normexp.config.schema import ActivationName
from normexp.models.activations import find_activation
from normexp.models.base import LayerPlan, Model, Module, Part, Planner, Recurrence, Shape
from normexp.norms import Site

Cell = Literal["rnn", "lstm", "gru"]

GATES: Mapping[Cell, Mapping[str, ActivationName | None]] = {
    "rnn": {"h": None},
    "lstm": {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid"},
    "gru": {"r": "sigmoid", "z": "sigmoid", "n": "tanh"},
}
"""Gates in the order of torch's weights, and their activations. None stands for the config's."""


@dataclass(frozen=True, kw_only=True)
class RNN(ModelConfig):
    cell: Cell
    hidden: int = number(minimum=1)
    layers: int = number(minimum=1)
    input: Literal["rows", "pixels", "permuted"]
    norm_at: Literal["auto", "maps", "sum"]
    noise_h0: float = number(minimum=0)


def observed_steps(steps: int) -> dict[str, int]:
    """The time steps, from 0, at which probes see the gates."""
    return {"first": 0, "middle": steps // 2, "last": steps - 1}


def layers(config: RNN, plan: Planner, image: Shape, classes: int) -> list[LayerPlan]:
    if plan.position != "pre":
        raise ConfigError(
            f"norm.position={plan.position}: model=rnn has its norms before the activations. Use norm.position=pre."
        )
    if config.cell == "rnn" and find_activation(plan.activation).parameters(Site("h", (config.hidden,))):
        raise ConfigError(
            f"activation={plan.activation} can't work in the layers of model=rnn. Use activation=tanh, or model.cell=lstm."
        )
    x = _sequence(config, image)
    plans: list[LayerPlan] = []
    for i in range(1, config.layers + 1):
        plans += _recurrent(config, plan, f"rnn{i}", x)
        x = plans[-1].outputs
    if any("noise" in each.parts for each in plans):
        raise ConfigError("noise can't be added in the layers of model=rnn. Use noise=0, or another model.")
    return [*plans, plan.linear("head", x[:1], classes, "weight")]


def _sequence(config: RNN, image: Shape) -> Shape:
    """(features, time steps) of the input."""
    if len(image) == 1 and config.input == "rows":
        raise ConfigError(
            f"model.input=rows needs images, but the data has vectors of {image[0]} values. Use model.input=pixels."
        )
    channels, *sides = image if len(image) == 3 else (1, *image)
    if config.input == "rows":
        return channels * sides[1], sides[0]
    return channels, sides[0] * (sides[1] if len(sides) == 2 else 1)


def _recurrent(config: RNN, plan: Planner, name: str, x: Shape) -> list[LayerPlan]:
    """The parts of a recurrent layer."""
    gates, steps, hidden = GATES[config.cell], x[1], config.hidden
    sums = config.norm_at == "sum" or (config.norm_at == "auto" and not plan.joins_samples)
    parts: tuple[Part, ...] = ("weight",) if sums else ("weight", "norm")
    in_turn = partial(Recurrence, hidden, steps=steps)
    at_once = Recurrence(hidden, len(gates), steps=steps if plan.per_step else 1)
    width, h = len(gates) * hidden, (hidden, steps)
    after: ActivationName | None = None if config.cell == "rnn" else "identity"  # for the gain of init
    plans = [
        plan.tokens(f"{name}.input", x, width, *parts, recurrence=at_once, activation=after),
        plan.tokens(f"{name}.hidden", h, width, *parts, recurrence=in_turn(len(gates)), activation=after),
    ]
    norms = []
    if sums:
        summed = len(gates) - (config.cell == "gru")
        norms.append(plan.parts(f"{name}.sum", (summed * hidden, steps), "norm", recurrence=in_turn(summed)))
        plans = [plan.joined(plans[0], norms[0]), plans[1] if config.cell == "gru" else plan.joined(plans[1], norms[0])]
    if sums and config.cell == "gru":
        norms.append(plan.parts(f"{name}.candidate", h, "norm", recurrence=in_turn(1)))
    if config.cell == "lstm":
        norms.append(plan.parts(f"{name}.cell", h, "norm", recurrence=in_turn(1)))
    plans += norms
    shown = {**gates, "c": "tanh"} if config.cell == "lstm" else gates
    for gate, activation in shown.items():
        for step in observed_steps(steps):
            shape = (hidden,)
            observed = plan.parts(f"{name}.{gate}.{step}", shape, "activation", activation=activation, observed=True)
            plans.append(observed)
    return [*plans, plan.parts(f"{name}.out", h, "dropout")]


def wire(config: RNN, layers: dict[str, Any]) -> Module:
    from torch import nn

    from normexp.models import recurrent

    steps = layers["rnn1.input"].plan.inputs[1]
    modules: OrderedDict[str, Module] = OrderedDict(sequence=recurrent.Sequence(config.input, steps))
    for i in range(1, config.layers + 1):
        name = f"rnn{i}"
        parts = {key.removeprefix(f"{name}."): layer for key, layer in layers.items() if key.startswith(f"{name}.")}
        modules[name] = recurrent.RecurrentLayer(
            config.cell, parts, observed=observed_steps(steps), noise_h0=config.noise_h0
        )
    return nn.Sequential(modules | {"last": recurrent.LastStep(), "head": layers["head"]})


ENTRY = Model(name="rnn", title="recurrent network", config=RNN, layers=layers, wire=wire, averages=False)
