"""Normalizations of weights, one file each, named as in configs/weight/."""

from normexp.registry import collect
from normexp.weights.base import Filters, Weight

WEIGHTS: dict[str, Weight] = collect(__name__, __path__, Weight, order=("none", "ws", "sws", "weight_norm", "spectral"))

__all__ = ["WEIGHTS", "Filters"]
