"""Batch renorm (Ioffe 2017, algorithm 1): batch norm, corrected towards the running statistics within limits that grow.

The limits grow over fractions of the run: the paper's 5,000, 40,000 and 25,000 steps are more than a short run has. A bias
before it is left out, because it would get no gradient.
"""

from dataclasses import dataclass

from normexp.config import number, show
from normexp.norms.base import Module, Norm, Site
from normexp.norms.bn import RunningConfig, single_value


@dataclass(frozen=True, kw_only=True)
class BatchRenorm(RunningConfig):
    r_max: float = number(minimum=1)
    d_max: float = number(minimum=0)
    ramp_start: float = number(minimum=0, maximum=1)
    r_ramp_end: float = number(minimum=0, maximum=1)
    d_ramp_end: float = number(minimum=0, maximum=1)


def problem(config: BatchRenorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    end = min(config.r_ramp_end, config.d_ramp_end)
    if config.ramp_start > end:
        start = f"norm.ramp_start={show(config.ramp_start)}"
        return f"{start} is after the end of a ramp, {show(end)}", f"Use norm.ramp_start={show(end)} or less."
    return single_value(config, site, batch_size)


def build(config: BatchRenorm, site: Site) -> Module:
    from normexp.norms.brn_module import BatchRenorm

    return BatchRenorm(
        site.all_channels,
        r_max=config.r_max,
        d_max=config.d_max,
        ramp_start=config.ramp_start,
        r_ramp_end=config.r_ramp_end,
        d_ramp_end=config.d_ramp_end,
        eps=config.eps,
        momentum=site.momentum(config.momentum),
        affine=config.affine,
    )


ENTRY = Norm(
    name="brn",
    title="batch renorm",
    config=BatchRenorm,
    axes=("B,H,W", "B"),
    problem=problem,
    build=build,
    cancels_bias=True,
    uses_batch=True,
    gated=True,
)
