"""Switchable norm (Luo et al. 2018): learned mixture of the means and variances of instance, layer and batch norm."""

from dataclasses import dataclass

from normexp.config import NormConfig, number
from normexp.norms.base import Module, Norm, Site, gamma_and_beta
from normexp.norms.in_ import WITH_POSITIONS


@dataclass(frozen=True, kw_only=True)
class SwitchNorm(NormConfig):
    momentum: float = number(above=0, maximum=1)


def problem(config: SwitchNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    if len(site.shape) == 1:
        return (
            "after a linear layer, each channel has a single value per sample, so instance norm has no variance to mix",
            WITH_POSITIONS,
        )
    if site.positions == 1:
        return (
            "its output is a single pixel, so instance norm has no variance to mix",
            "Use fewer stages or larger images.",
        )
    return None


def build(config: SwitchNorm, site: Site) -> Module:
    from normexp.norms.sn_module import SwitchNorm

    return SwitchNorm(site.channels, eps=config.eps, momentum=config.momentum, affine=config.affine)


ENTRY = Norm(
    name="sn",
    title="switchable norm",
    config=SwitchNorm,
    axes=("H,W + C,H,W + B,H,W", ""),
    problem=problem,
    build=build,
    uses_batch=True,
    parameters=lambda config, site: gamma_and_beta(config, site) + 6,
)
