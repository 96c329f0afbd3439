"""The exact claims: identities and inequalities that a computation of milliseconds decides. One file a claim, named as in
configs/claim/, whose rule judges the numbers."""

from normexp.claims.exact.base import Exact, Table, Worked
from normexp.registry import collect

EXACT: dict[str, Exact] = collect(
    __name__,
    __path__,
    Exact,
    order=(
        "formula",
        "unit-moments",
        "identity",
        "axes",
        "worked-example",
        "gradient-flows",
        "bias-cancelled",
        "scale-law",
        "detached-stats",
        "inference-statistics",
        "fold",
        "dropout-scale",
        "gradient-growth",
    ),
)

__all__ = ["EXACT", "Exact", "Table", "Worked"]
