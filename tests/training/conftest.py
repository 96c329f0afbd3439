"""Shared fixtures of the training tests."""

import pytest

from normexp.training import trainer


@pytest.fixture
def at_step(monkeypatch):
    """Call a function once, in a given step, before its update."""

    def arrange(step, happens):
        real = trainer.lr_factor

        def lr_factor(schedule, done, total):
            if done == step - 1:
                monkeypatch.setattr(trainer, "lr_factor", real)
                happens()
            return real(schedule, done, total)

        monkeypatch.setattr(trainer, "lr_factor", lr_factor)

    return arrange
