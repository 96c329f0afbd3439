"""Weight norm (Salimans and Kingma 2016, eq. 2): w = g v / |v| for each filter, with a learned length g and direction v.

g starts at the length of the drawn filter, so that the network starts as without weight norm; the paper's data-dependent
initialization is `init.input_std`. In every layer, as in the paper.
"""

from normexp.config import WeightConfig
from normexp.weights.base import Filters, Module, Weight


def apply(config: WeightConfig, filters: Filters, module: Module) -> None:
    from torch.nn.utils.parametrizations import weight_norm

    weight_norm(module, "weight", dim=0)


ENTRY = Weight(
    name="weight_norm",
    title="weight norm",
    apply=apply,
    head=True,
    parameters=lambda filters: filters.count,
)
