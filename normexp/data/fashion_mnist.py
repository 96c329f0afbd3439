"""Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 pictures of clothes of 28x28 pixels."""

from functools import partial

from normexp.config import DataConfig
from normexp.data.base import DataSet
from normexp.data.idx import load

ENTRY = DataSet(
    name="fashion_mnist",
    title="Fashion-MNIST",
    config=DataConfig,
    shape=(1, 28, 28),
    classes=10,
    train_samples=60_000,
    test_samples=10_000,
    epochs=5,
    pad=3,
    load=partial(load, name="FashionMNIST"),
)
