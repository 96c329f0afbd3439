"""Norms, one file each, named as in configs/norm/."""

from normexp.config import NormConfig
from normexp.norms.base import Norm, Site
from normexp.registry import Registry, collect

ORDER = ("none", "bn", "ln", "in", "gn", "rms", "brn", "frn", "evonorm", "dyt", "derf", "iternorm", "sn")

NORMS = Registry("norm", collect(__name__, __path__, Norm, order=ORDER), Norm, NormConfig)

__all__ = ["NORMS", "Site"]
