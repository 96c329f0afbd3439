"""No norm."""

from normexp.norms.base import Norm

ENTRY = Norm(
    name="none",
    title="no norm",
    axes=("", ""),
    problem=lambda config, site, batch_size: None,
    build=lambda config, site: None,
)
