"""Norms, one file each, named as in configs/norm/."""

from normexp.norms.base import Norm, Site
from normexp.registry import collect

NORMS: dict[str, Norm] = collect(__name__, __path__, Norm, order=("none", "bn", "ln", "in", "gn"))

__all__ = ["NORMS", "Site"]
