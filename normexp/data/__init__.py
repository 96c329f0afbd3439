"""Data sets, one file each, named as in configs/data/, and their preprocessing."""

from dataclasses import dataclass

from normexp.config import Config, ConfigError, DataConfig, join_names
from normexp.data.base import DataInfo, DataSet
from normexp.data.paths import DataFilesError
from normexp.registry import Registry, collect

ORDER = ("digits", "mnist", "fashion_mnist", "cifar10")

DATA = Registry("data", collect(__name__, __path__, DataSet, order=ORDER), DataSet, DataConfig)


def info(config: DataConfig) -> DataInfo:
    """Shape, classes and numbers of samples of a config's data. Raises DataFilesError if they can't be read from its files."""
    try:
        return DATA[config.name].info(config)
    except DataFilesError:
        raise
    except ConfigError as error:
        raise DataFilesError(str(error)) from error


def class_names(config: Config) -> str:
    """'3 classes: cat, dog, eel', shortened if there are many. Empty if the classes are numbers."""
    names = info(config.data).class_names
    return "" if all(name.isdecimal() for name in names) else f"{len(names)} classes: {join_names(names)}"


@dataclass(frozen=True)
class Sizes:
    """train, val: numbers of samples. An incomplete last batch is dropped, so an epoch has train // batch_size steps."""

    train: int
    val: int
    steps_per_epoch: int
    total_steps: int


def sizes(config: Config) -> Sizes:
    """Number of samples and steps of a run whose config sets either epochs or steps."""
    samples = info(config.data).train_samples
    val = round(config.data.val_size * samples)
    train = samples - val if config.data.train_size is None else config.data.train_size
    steps_per_epoch = train // config.batch_size
    total = config.steps if config.steps is not None else (config.epochs or 0) * steps_per_epoch
    return Sizes(train, val, steps_per_epoch, total)
