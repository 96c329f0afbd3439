"""Weight decay before batch norm is a learning rate schedule (van Laarhoven 2017, section 2; Li and Arora 2020, section 2).

A norm makes the loss L independent of the scale of the weights w before it: L(a w) = L(w), so the gradient at a w is 1/a of that
at w. With w_(t+1) = (1 - lr wd) w_t - lr dL/dw(w_t), the weights u_t = w_t / (1 - lr wd)^t follow

    u_(t+1) = u_t - lr_t dL/dw(u_t)    with    lr_t = lr (1 - lr wd)^-(2 t + 1),

which is gradient descent without weight decay. u_t and w_t have the same direction, so the network computes the same.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_network, default_config, max_abs, randn
from normexp.config import Config

LR, DECAY, STEPS = 0.1, 0.05, 200
SHRINK = 1 - LR * DECAY  # factor by which weight decay alone changes the weights in a step

Trained = tuple[Tensor, list[float]]
"""Outputs (B, 10) after the last step; norm of the first layer's weights before each step and after the last."""


def scheduled_lr(step: int) -> float:
    """lr_t, from step 0 on."""
    return LR * SHRINK ** -(2 * step + 1)


def compute() -> ExactResult:
    x, labels = randn(64, 1, 8, 8), torch.randint(10, (64,))
    config = default_config(model="mlp", norm="bn")
    config = replace(config, model=replace(config.model, depth=2, width=16))
    bn = replace(
        config, norm=replace(config.norm, eps=1e-30)
    )  # a larger eps makes the norm depend on the scale a little
    none = replace(config, norm=default_config(model="mlp", norm="none").norm)
    state = torch.get_rng_state()

    def train(network: Config, lr: Callable[[int], float], decay: float) -> Trained:
        torch.set_rng_state(state)  # the same initial weights each time
        return descend(network, x, labels, lr, decay)

    decayed, lengths = train(bn, lambda step: LR, DECAY)
    scheduled, long_lengths = train(bn, scheduled_lr, 0)
    constant, _ = train(bn, lambda step: LR, 0)
    decayed_none, _ = train(none, lambda step: LR, DECAY)
    scheduled_none, _ = train(none, scheduled_lr, 0)
    numbers = {
        "output_difference": max_abs(scheduled - decayed) / max_abs(decayed),
        "length_difference": abs(lengths[-1] / long_lengths[-1] / SHRINK**STEPS - 1),
        "change_from_constant_lr": max_abs(constant - decayed) / max_abs(decayed),
        "output_difference_without_norm": max_abs(scheduled_none - decayed_none) / max_abs(decayed_none),
    }
    rows = []
    for t in (0, 1, 10, 50, 100, STEPS):
        short, long = lengths[t], long_lengths[t]
        rows.append((t, scheduled_lr(t), short, long, LR / short**2, scheduled_lr(t) / long**2))
    heads = ("step", "lr_t", "|w|, decay", "|w|, lr_t", "lr / |w|^2, decay", "lr / |w|^2, lr_t")
    title = f"First layer of an MLP with batch norm: lr {LR} with weight decay {DECAY}, or the growing lr_t without"
    return ExactResult(numbers, (Table(title, heads, rows),))


def descend(config: Config, x: Tensor, labels: Tensor, lr: Callable[[int], float], decay: float) -> Trained:
    """Train with all data in each step. lr and weight decay are those of the weights before the norms, or where they would be;
    all other parameters have the constant LR and no decay."""
    model, layers = build_network(config)
    hidden = [layer.get_submodule("weight").get_parameter("weight") for name, layer in layers.items() if name != "head"]
    others = [p for p in model.parameters() if all(p is not weight for weight in hidden)]
    parameters = [*hidden, *others]
    lengths = [float(hidden[0].detach().norm())]
    for step in range(STEPS):
        gradients = torch.autograd.grad(F.cross_entropy(model(x), labels), parameters)
        with torch.no_grad():
            for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
                is_hidden = i < len(hidden)
                decayed = gradient + decay * parameter if is_hidden else gradient
                parameter.sub_((lr(step) if is_hidden else LR) * decayed)
        lengths.append(float(hidden[0].detach().norm()))
    with torch.no_grad():
        return model(x), lengths


ENTRY = ExactClaim("weight-decay-is-lr", compute)
