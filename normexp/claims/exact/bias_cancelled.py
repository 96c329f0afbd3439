"""A bias right before batch norm has no effect (Ioffe and Szegedy 2015, section 3.2): subtracting the batch mean cancels it,

BN(W u + b) = BN(W u)    and    dl/db = 0.
"""

from torch import Tensor, float64, nn
from torch.autograd import grad

from normexp.claims.exact.base import ExactClaim, ExactResult, build_network, build_norm, default_config, max_abs, randn
from normexp.claims.verdict import Table

WIDTH = 6


def bias_effect(after: nn.Module, linear: nn.Linear, u: Tensor, target: Tensor, shift: Tensor) -> tuple[float, float]:
    """|dl/db| / |dl/dW| of a linear layer, and the largest change of the output of `after` if b is shifted."""
    y = after(linear(u))
    to_weight, to_bias = grad((y - target).square().sum(), (linear.weight, linear.bias))
    return float(to_bias.norm() / to_weight.norm()), max_abs(after(linear(u) + shift) - y)


def compute() -> ExactResult:
    linear = nn.Linear(5, WIDTH, dtype=float64)
    u, target, shift = randn(16, 5), randn(16, WIDTH), randn(WIDTH, std=10)
    following = {
        "bn": build_norm("bn", (WIDTH,)),
        "relu, then bn": nn.Sequential(nn.ReLU(), build_norm("bn", (WIDTH,))),
        "ln": build_norm("ln", (WIDTH,)),
        "gn with 2 groups": build_norm("gn", (WIDTH,)),
        "nothing": nn.Identity(),
    }
    effects = {name: bias_effect(module, linear, u, target, shift) for name, module in following.items()}
    effects["bn, at test time"] = bias_effect(following["bn"].eval(), linear, u, target, shift)

    plans = [layer.plan for layer in build_network(default_config(model="mlp", norm="bn"))[1].values()]
    numbers = {
        "gradient_share": effects["bn"][0],
        "change": effects["bn"][1],
        "biases_in_front_of_bn": float(sum(plan.bias for plan in plans if "norm" in plan.parts)),
    }
    of_effects = Table(
        f"A linear layer with a bias b, which is shifted by up to {max_abs(shift):.3g}",
        ("after the layer", "|dl/db| / |dl/dW|", "largest change of the output"),
        [(name, *effect) for name, effect in effects.items()],
    )
    layers = [(plan.name, ", ".join(plan.parts), "yes" if plan.bias else "no") for plan in plans]
    title = "The layers of normexp's own network (model=mlp norm=bn)"
    of_layers = Table(title, ("layer", "parts", "has a bias"), layers)
    return ExactResult(numbers, (of_effects, of_layers))


ENTRY = ExactClaim("bias-cancelled", compute)
