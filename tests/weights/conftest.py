"""Fixtures of the training tests, for runs with normalized weights."""

from tests.training.conftest import at_step

__all__ = ["at_step"]
