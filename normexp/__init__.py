"""normexp: see what a normalization layer does to a network."""

__version__ = "0.1.0"
