"""MNIST (LeCun et al. 1998): 60,000 + 10,000 handwritten digits of 28x28 pixels."""

from functools import partial

from normexp.config import DataConfig
from normexp.data.base import DataSet
from normexp.data.idx import load

ENTRY = DataSet(
    name="mnist",
    title="MNIST",
    config=DataConfig,
    shape=(1, 28, 28),
    classes=10,
    train_samples=60_000,
    epochs=3,
    pad=3,
    load=partial(load, name="MNIST"),
)
