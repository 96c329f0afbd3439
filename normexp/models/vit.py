"""A small vision transformer (Dosovitskiy et al. 2021): patches, learned positions, blocks of attention and MLP, the head.

Its norms and names of layers by `block`, for attention; in the MLP, fc1 and fc2 take the places of q, k, v and out:

    pre       x + out(attention(norm(x)))             pre-LN; a norm `final` after the last block (Xiong et al. 2020)
    post      norm_sum(x + out(attention(x)))         post-LN, the original transformer (Vaswani et al. 2017)
    sandwich  x + norm_out(out(attention(norm(x))))   before and after, and `final` (Ding et al. 2021, "CogView")
    none      no norm outside the branches; `norm.layers` chooses among the mlp.fc1, between linear layer and activation

With `norm.qk`, the queries and keys of each head have norms, too (`q_norm`, `k_norm`; Henry et al. 2020 use an l2 norm there).
`weights`, the softmax, is for probes only, since torch's kernel keeps no weights.
Dropout is at the end of the patches, of fc1 and of both branches. A class token (pool=cls) is one more token.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from normexp.config import ConfigError, ModelConfig, join_names, number
from normexp.models.base import LayerPlan, Model, Module, Part, Planner, Shape


@dataclass(frozen=True, kw_only=True)
class ViT(ModelConfig):
    depth: int = number(minimum=1)
    dim: int = number(minimum=1)
    heads: int = number(minimum=1)
    mlp: int = number(minimum=1)
    patch: int | None = number(minimum=1)
    block: Literal["pre", "post", "sandwich", "none"]
    pool: Literal["mean", "cls"]


def layers(config: ViT, plan: Planner, image: Shape, classes: int) -> list[LayerPlan]:
    side = _patch_side(config, plan, image)
    if config.dim % config.heads:
        works = [n for n in range(1, min(config.dim, 64) + 1) if config.dim % n == 0]
        raise ConfigError(
            f"model.heads={config.heads}: the heads must divide model.dim={config.dim}; use {join_names(map(str, works))}."
        )
    if plan.position != "pre":
        raise ConfigError(
            f"norm.position={plan.position}: model=vit has its norms where model.block says. Use norm.position=pre, and "
            "model.block=pre, post or sandwich."
        )
    parts: tuple[Part, ...] = ("weight", "position", "dropout")
    plans = [plan.patches("patch", image, config.dim, *parts, side=side, class_token=config.pool == "cls")]
    x = plans[0].outputs
    for i in range(1, config.depth + 1):
        plans += _attention(config, plan, f"block{i}.attn", x) + _mlp(config, plan, f"block{i}.mlp", x)
    if config.block in ("pre", "sandwich"):
        plans.append(plan.parts("final", x, "norm"))
    return [*plans, plan.linear("head", x[:1], classes, "weight")]


def _patch_side(config: ViT, plan: Planner, image: Shape) -> int:
    """Pixels along a side of a patch. Raises ConfigError if they don't divide the image's sides."""
    plan.require_images(image)
    _, height, width = image
    side = config.patch or max(1, height // 4)
    if height % side or width % side:
        works = [n for n in range(1, min(height, width) + 1) if height % n == width % n == 0]
        raise ConfigError(
            f"model.patch={side}: the images are {height}x{width} pixels, which patches of {side}x{side} don't divide; use "
            f"model.patch={join_names(map(str, works))}."
        )
    return side


def _attention(config: ViT, plan: Planner, name: str, x: Shape) -> list[LayerPlan]:
    projections = [plan.tokens(f"{name}.{each}", x, config.dim, "weight") for each in "qkv"]
    head = (config.dim // config.heads, x[1])
    normed = [plan.parts(f"{name}.{each}_norm", head, "norm", heads=config.heads) for each in "qk"] if plan.qk else []
    out = plan.tokens(f"{name}.out", x, config.dim, "weight", "dropout")
    weights = plan.parts(f"{name}.weights", (x[1], x[1]), "softmax", heads=config.heads, observed=True)
    return _branch(config, plan, name, x, [*projections, *normed, weights, out])


def _mlp(config: ViT, plan: Planner, name: str, x: Shape) -> list[LayerPlan]:
    inner = plan.hidden if config.block == "none" else ("weight", "activation", "dropout")
    fc1 = plan.tokens(f"{name}.fc1", x, config.mlp, *inner)
    fc2 = plan.tokens(f"{name}.fc2", fc1.outputs, config.dim, "weight", "dropout", after_activation=True)
    return _branch(config, plan, name, x, [fc1, fc2])


def _branch(config: ViT, plan: Planner, name: str, x: Shape, body: list[LayerPlan]) -> list[LayerPlan]:
    """The layers of a branch with its norms."""
    plans = [plan.parts(f"{name}.norm", x, "norm")] if config.block in ("pre", "sandwich") else []
    if config.block == "sandwich":
        after = plan.parts(f"{name}.norm_out", x, "norm")
        return [*plans, *body[:-1], plan.joined(body[-1], after), after]
    return [*plans, *body, *([plan.parts(f"{name}.norm_sum", x, "norm")] if config.block == "post" else [])]


def branches(plans: Sequence[LayerPlan]) -> list[list[str]]:
    """With block=sandwich, the norm at the end of each branch. Elsewhere no branch ends in a norm."""
    return [[plan.name] for plan in plans if plan.name.endswith(".norm_out")]


def wire(config: ViT, layers: dict[str, Module]) -> Module:
    from torch import nn

    from normexp.models.tokens import MLP, Attention, Pool

    modules: OrderedDict[str, Module] = OrderedDict()
    for block, names in groupby(layers, key=lambda name: name.partition(".")[0]):
        if block in layers:
            modules |= {"pool": Pool(config.pool)} if block == "head" else {}
            modules[block] = layers[block]
            continue
        parts: dict[str, dict[str, Module]] = {"attn": {}, "mlp": {}}
        for name in names:
            _, branch, part = name.split(".")
            parts[branch][part] = layers[name]
        branches = {"attn": Attention(parts["attn"], config.heads), "mlp": MLP(parts["mlp"])}
        modules[block] = nn.Sequential(OrderedDict(branches))
    return nn.Sequential(modules)


ENTRY = Model(
    name="vit",
    title="vision transformer",
    config=ViT,
    layers=layers,
    wire=wire,
    branches=branches,
    attention=True,
)
