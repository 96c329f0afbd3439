"""Kuzushiji-MNIST (Clanuwat et al. 2018, arXiv:1812.01718): handwritten Japanese characters, in MNIST's sizes and format."""

from dataclasses import replace
from pathlib import Path

from normexp.config import DataConfig
from normexp.data import mnist
from normexp.data.base import Arrays


def load(config: DataConfig, folder: Path) -> Arrays:
    # The published checksums are those of the compressed files.
    return mnist.load_files(folder, name="KMNIST", verify=False)


ENTRY = replace(
    mnist.ENTRY,
    name="kmnist",
    title="Kuzushiji-MNIST",
    config=DataConfig,
    epochs=5,
    load=load,
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)
