"""Zero the last gamma of each residual branch, so that blocks start as the identity (Goyal et al. 2017, section 5.1)."""

from collections.abc import Iterator, Sequence

from normexp.config import Config
from normexp.models import MODELS
from normexp.models.base import LayerPlan


def zeroed_layers(config: Config, plans: Sequence[LayerPlan]) -> list[str]:
    """The layers whose gamma starts at 0 with norm.zero_last: of each residual branch, the last one with a norm."""
    with_norm = {plan.name for plan in plans if "norm" in plan.parts}
    branches = MODELS[config.model.name].branches(plans) if config.norm.zero_last else []
    normed = [[name for name in branch if name in with_norm] for branch in branches]
    return [branch[-1] for branch in normed if branch]


def problems(config: Config, plans: Sequence[LayerPlan]) -> Iterator[str]:
    """Why norm.zero_last can't work, as sentences."""
    if not config.norm.zero_last or config.norm.name == "none":
        return
    zeroed = zeroed_layers(config, plans)
    if not zeroed:
        yield (
            "norm.zero_last=true needs residual branches with a norm: use model=resnet, or model=vit with model.block=sandwich, "
            "or set it to false."
        )
    if not config.norm.affine:
        yield "norm.zero_last=true needs a gamma that can start at 0: set norm.affine=true."
    by_name = {plan.name: plan for plan in plans}
    for branch in MODELS[config.model.name].branches(plans):
        for name in set(branch) & set(zeroed):
            first, *later = (by_name[layer].parts for layer in branch[branch.index(name) :])
            after = [*first[first.index("norm") :], *(part for parts in later for part in parts), "weight"]
            if "activation" in after[: after.index("weight")]:
                yield (
                    f"norm.zero_last=true can't work in layer {name}: its norm precedes an activation, and ReLU passes no "
                    "gradient at 0. Use model.block=original with a norm in the second convolution of each block."
                )
