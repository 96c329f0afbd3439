"""Data sets, one file each, named as in configs/data/, and their preprocessing."""

from normexp.data.base import Arrays, DataSet
from normexp.registry import collect

DATA: dict[str, DataSet] = collect(
    __name__,
    __path__,
    DataSet,
    order=("digits", "mnist", "fashion_mnist", "cifar10"),
)

__all__ = ["DATA", "Arrays", "DataSet"]
