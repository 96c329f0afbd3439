"""1,797 handwritten digits of 8x8 pixels with values 0 to 16, from scikit-learn's package, so nothing is downloaded.

It has no official test set; here, a fixed fifth of the samples is the test set, whatever the seed.
Source: UCI, Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998).
"""

import importlib.util
import zlib
from pathlib import Path

from normexp.config import ConfigError, DataConfig, show
from normexp.data.base import Arrays, DataSet, stratified

SAMPLES, TEST_SAMPLES = 1797, 360


def load(config: DataConfig, folder: Path) -> Arrays:
    import numpy as np

    table = _read_table()
    images, labels = table[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
    test, train = stratified(labels, TEST_SAMPLES, np.random.default_rng(0))
    return Arrays(images[train], labels[train], images[test], labels[test], scale=16)


def _read_table():  # type: ignore[no-untyped-def]
    """Read scikit-learn's table, (1797, 65): pixels and label. Reads its file directly, since importing sklearn.datasets takes
    longer than everything else at startup."""
    import numpy as np

    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if path.exists():
        try:
            table = np.loadtxt(path, delimiter=",")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ConfigError(f"{path} can't be read ({show(error)}); reinstall scikit-learn.") from error
        largest = np.array([16] * 64 + [9])
        if table.shape != (SAMPLES, 65) or not ((table >= 0) & (table <= largest)).all():
            raise ConfigError(f"{path} does not contain {SAMPLES:,} digits; reinstall scikit-learn.")
        return table
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])


ENTRY = DataSet(
    name="digits",
    title="scikit-learn's digits",
    shape=(1, 8, 8),
    classes=10,
    train_samples=SAMPLES - TEST_SAMPLES,
    test_samples=TEST_SAMPLES,
    epochs=20,
    pad=1,
    load=load,
)
