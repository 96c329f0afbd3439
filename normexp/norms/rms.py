"""RMSNorm (Zhang and Sennrich 2019, eq. 4): divides by the root of the mean square, over the same sets as layer norm."""

from dataclasses import dataclass
from typing import Literal

from normexp.config import NormConfig
from normexp.norms.base import Module, Norm, Site
from normexp.norms.ln import axes


@dataclass(frozen=True, kw_only=True)
class RMSNorm(NormConfig):
    axes: Literal["all", "channel"]
    beta: bool


def problem(config: RMSNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    if site.channels > 1 or (config.axes == "all" and site.positions > 1):
        return None
    return "it divides a single value by its own size, which leaves only the sign", "Use a wider layer."


def build(config: RMSNorm, site: Site) -> Module:
    from normexp.norms import channel_modules

    over_channels, beta = config.axes == "channel", config.affine and config.beta
    return channel_modules.RMSNorm(
        site.all_channels, over_channels=over_channels, eps=config.eps, gamma=config.affine, beta=beta, gates=site.gates
    )


ENTRY = Norm(
    name="rms",
    title="RMS norm",
    config=RMSNorm,
    axes=axes,
    problem=problem,
    build=build,
    parameters=lambda config, site: (config.affine + (config.affine and config.beta)) * site.all_channels,
    gated=True,
)
