"""What the tests of training share."""

import pytest

from normexp.training import trainer


@pytest.fixture
def at_step(monkeypatch):
    """Have something happen in a certain step, before its update; once."""

    def arrange(step, happens):
        real = trainer.lr_factor

        def lr_factor(schedule, done, total):
            if done == step - 1:
                monkeypatch.setattr(trainer, "lr_factor", real)
                happens()
            return real(schedule, done, total)

        monkeypatch.setattr(trainer, "lr_factor", lr_factor)

    return arrange
