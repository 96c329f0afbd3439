"""normexp: see what a normalization layer does to a network."""

__version__ = "0.2.0"

NUMERICS = 2
"""Version of the numbers that a config and a seed give. Raise it with every change of random streams, networks, arithmetic or
measures: runs of different versions are not averaged, resumed or reused. In version 1, all layers of the
same shape began with the same weights."""
