"""Fashion-MNIST (Xiao et al. 2017): pictures of clothes, in MNIST's sizes and format."""

from dataclasses import replace
from pathlib import Path

from normexp.config import DataConfig
from normexp.data import mnist
from normexp.data.base import Arrays


def load(config: DataConfig, folder: Path) -> Arrays:
    # The published checksums are those of the compressed files.
    return mnist.load_files(folder, name="FashionMNIST", verify=False)


ENTRY = replace(
    mnist.ENTRY,
    name="fashion_mnist",
    title="Fashion-MNIST",
    config=DataConfig,
    epochs=5,
    load=load,
    class_names=(
        *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
)
