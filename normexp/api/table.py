"""Tables for Python: a pandas DataFrame if pandas is installed, else a dict of NumPy arrays."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from normexp.rundir import finite


def to_table(columns: Mapping[str, Sequence[Any]], *, numbers: Collection[str]) -> Any:
    """The columns as a table. numbers: columns of float64, in which all else is NaN."""
    import numpy as np

    arrays = {
        name: np.array([math.nan if (n := finite(value)) is None else n for value in values], dtype=np.float64)
        if name in numbers
        else _array(values)
        for name, values in columns.items()
    }
    try:
        import pandas as pd
    except ImportError:
        return arrays
    return pd.DataFrame(arrays)


def _array(values: Sequence[Any]) -> Any:
    """An array of integers, floats or bools, if all values are; else of the values themselves."""
    import numpy as np

    for kind in (int, float, bool):
        if all(type(value) is kind for value in values):
            return np.array(values, dtype=kind)
    return np.fromiter(values, dtype=object, count=len(values))
