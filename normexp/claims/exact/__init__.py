"""Claims that are computed in milliseconds rather than trained: one file per claim, named as in configs/claim/.

The rule in the yaml file judges the numbers. Importing this package imports torch.
"""

from normexp.claims.exact.base import ExactClaim
from normexp.registry import collect

EXACT: dict[str, ExactClaim] = collect(__name__, __path__, ExactClaim)
