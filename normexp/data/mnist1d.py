"""MNIST-1D (Greydanus 2020, "Scaling down deep learning", arXiv:2011.14439): 4,000 + 1,000 generated vectors of 40 values, each
the outline of a digit, stretched, shifted and sheared, with noise.

The templates and parameters are those of the paper's dataset (github.com/greydanus/mnist1d, `get_templates` and
`get_dataset_args`). The random draws are not: accuracies are comparable, single samples are not. The set is the same in all runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.config import DataConfig
from normexp.data.base import Arrays, DataSet, Labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DIGITS = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
"""Outlines of the digits 0 to 9."""

LENGTH, FINAL_LENGTH = 72, 40  # values of a signal before and after the last resampling
MIN_PADDING, MAX_PADDING = 36, 60  # zeros after the 12 values of the outline; fewer stretch it more
SCALE, SHEAR = 0.4, 0.75  # widths of the ranges of the factor around 1 and of the slope around 0
MAX_SHIFT = 48  # exclusive
CORRELATED_NOISE, NOISE_WIDTH = 0.25, 2.0  # where there is no outline, smoothed with a Gaussian of this width
NOISE = 0.02  # everywhere, independent
TRAIN, TEST = 4000, 1000
SEED = 0


@dataclass(frozen=True)
class Draws:
    """The random parameters of N signals: padding (zeros), factor, shift and slope, (N,) each."""

    padding: NDArray[np.int64]
    factor: Floats
    shift: NDArray[np.int64]
    slope: Floats


def load(config: DataConfig, folder: Path) -> Arrays:
    import numpy as np

    # The stream of the old RandomState never changes; default_rng's may, from one version of numpy to the next.
    rng = np.random.RandomState(SEED)
    labels = rng.permutation(np.repeat(np.arange(10), (TRAIN + TEST) // 10)).astype(np.int64)
    count = len(labels)
    draws = Draws(
        padding=rng.randint(MIN_PADDING, MAX_PADDING + 1, count),
        factor=1 + SCALE * (rng.random_sample(count) - 0.5),
        shift=rng.randint(MAX_SHIFT, size=count),
        slope=SHEAR * (rng.random_sample(count) - 0.5),
    )
    noise = CORRELATED_NOISE * rng.standard_normal((count, LENGTH)), NOISE * rng.standard_normal((count, LENGTH))
    values = signals(labels, draws, *noise)
    values = ((values - values.mean()) / values.std()).astype(np.float32)
    return Arrays(values[:TRAIN], labels[:TRAIN], values[TRAIN:], labels[TRAIN:], scale=1)


def templates() -> Floats:
    """The outlines (10, 12) with standard deviation 1/6, starting at 0."""
    import numpy as np

    outlines = np.array(DIGITS)
    outlines /= outlines.std(axis=1, keepdims=True)
    scaled: Floats = (outlines - outlines[:, :1]) / 6
    return scaled


def signals(labels: Labels, draws: Draws, correlated: Floats, independent: Floats) -> Floats:
    """The signals (N, 40) of digits (N,). correlated, independent: noise (N, 72); `correlated` is smoothed first.

    The outline, followed by zeros, is resampled to 72 values, scaled and rotated. The zeros are replaced by correlated noise.
    Independent noise and a linear slope are added, and the result is resampled to 40 values.
    """
    import numpy as np
    from scipy.ndimage import gaussian_filter1d

    outlines, knots = templates()[labels], np.arange(len(DIGITS[0]) + 1)
    values, is_outline = np.empty((len(labels), LENGTH)), np.empty((len(labels), LENGTH), dtype=bool)
    for i, outline in enumerate(outlines):
        at = np.linspace(0, len(outline) + draws.padding[i] - 1, LENGTH)
        values[i] = np.roll(draws.factor[i] * np.interp(at, knots, [*outline, 0]), draws.shift[i])
        is_outline[i] = np.roll(at < len(outline), draws.shift[i])
    values = np.where(is_outline, values, gaussian_filter1d(correlated, NOISE_WIDTH, axis=1)) + independent
    values -= draws.slope[:, None] * np.linspace(-0.5, 0.5, LENGTH)
    at = np.linspace(0, LENGTH - 1, FINAL_LENGTH)
    return np.stack([np.interp(at, np.arange(LENGTH), row) for row in values])


ENTRY = DataSet(
    name="mnist1d",
    title="MNIST-1D",
    shape=(FINAL_LENGTH,),
    classes=10,
    train_samples=TRAIN,
    test_samples=TEST,
    epochs=20,
    load=load,
)
