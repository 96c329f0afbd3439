"""Norms, one file each, named as in configs/norm/."""

from normexp.norms.base import Norm, Site
from normexp.registry import collect

ORDER = ("none", "bn", "ln", "in", "gn", "rms", "brn", "frn", "evonorm", "dyt", "derf", "iternorm", "sn")

NORMS: dict[str, Norm] = collect(__name__, __path__, Norm, order=ORDER)

__all__ = ["NORMS", "Site"]
