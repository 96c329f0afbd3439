"""Spectral norm (Miyato et al. 2018, eq. 8): W / sigma(W), with the largest singular value of W as a (filters, fan_in) matrix.

sigma = u^T W v, and each training step improves the vectors u and v by `iterations` of the power method (algorithm 1); they are
buffers, and stored in checkpoints. Evaluations leave them as they are. In every layer, as in the paper.
"""

from dataclasses import dataclass

from normexp.config import WeightConfig, number
from normexp.weights.base import Filters, Module, Weight


@dataclass(frozen=True, kw_only=True)
class SpectralNorm(WeightConfig):
    iterations: int = number(minimum=1, maximum=1000)


def apply(config: SpectralNorm, filters: Filters, module: Module) -> None:
    from torch.nn.utils.parametrizations import spectral_norm

    spectral_norm(module, "weight", n_power_iterations=config.iterations, dim=0)


ENTRY = Weight(
    name="spectral",
    title="spectral norm",
    apply=apply,
    config=SpectralNorm,
    head=True,
    cancels_scale=True,
)
