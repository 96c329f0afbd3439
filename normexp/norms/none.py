"""No norm."""

from normexp.config import NormConfig
from normexp.norms.base import Norm

ENTRY = Norm(
    name="none",
    title="no norm",
    config=NormConfig,
    axes=("", ""),
    values=lambda config, site, batch_size: 0,
    problem=lambda config, site, batch_size: None,
    build=lambda config, site: None,
)
