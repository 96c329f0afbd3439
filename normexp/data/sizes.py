"""How much data a run has, and how many steps that makes."""

from dataclasses import dataclass

from normexp.config import Config
from normexp.data import DATA


@dataclass(frozen=True)
class Sizes:
    """train, val: samples. An incomplete last batch is left out, so that an epoch has train // batch_size steps."""

    train: int
    val: int
    steps_per_epoch: int
    total_steps: int


def sizes(config: Config) -> Sizes:
    """Of a config in which either epochs or steps is set."""
    samples = DATA[config.data.name].train_samples
    val = round(config.data.val_size * samples)
    train = samples - val if config.data.train_size is None else config.data.train_size
    steps_per_epoch = train // config.batch_size
    total = config.steps if config.steps is not None else (config.epochs or 0) * steps_per_epoch
    return Sizes(train, val, steps_per_epoch, total)
