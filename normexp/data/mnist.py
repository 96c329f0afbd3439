"""MNIST (LeCun et al. 1998): 60,000 + 10,000 handwritten digits of 28x28 pixels."""

from functools import partial

from normexp.config import DataConfig
from normexp.data.base import DataSet
from normexp.data.idx import load

# md5 of each published file, unpacked.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

ENTRY = DataSet(
    name="mnist",
    title="MNIST",
    config=DataConfig,
    shape=(1, 28, 28),
    classes=10,
    train_samples=60_000,
    test_samples=10_000,
    epochs=3,
    pad=3,
    load=partial(load, name="MNIST", md5=MD5),
)
