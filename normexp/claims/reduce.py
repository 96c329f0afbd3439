"""What is taken of a measure's values along an axis, such as that at the best learning rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from normexp.claims.schema import Take, Value

Floats = NDArray[np.float64]


def best(scores: Floats, *, lowest: bool = False) -> int | None:
    """The place along the axis with the best mean score over seeds, (places, seeds); undefined scores are the worst, and None is
    where all are. One place for all seeds: an axis such as lr is tuned, not each run."""
    with np.errstate(invalid="ignore"):
        means = scores.mean(axis=1) * (-1 if lowest else 1)
    return None if np.isnan(means).all() else int(np.nanargmax(means))


def take(what: Take, values: Floats, axis: tuple[Value, ...], working: float | None) -> Floats:
    """One number a seed, (seeds,), of values (places, seeds) along an axis; for all but best and gain (the best of the other
    places minus the first one).

    decades: the width of the widest unbroken band of working places, in powers of ten; 0 for a single place or none, NaN where no
    place has a value.
    largest: the last working place; NaN for none. slope: of log(value) over log(axis), by least squares.
    """
    match what:
        case "min":
            return np.asarray(values.min(axis=0))
        case "max":
            return np.asarray(values.max(axis=0))
        case "mean":
            return np.asarray(values.mean(axis=0))
    places = np.array(axis, dtype=np.float64)
    if what == "slope":
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(np.where(values > 0, values, np.nan))
        centred = np.log(places) - np.log(places).mean()
        return np.asarray(centred @ logs / (centred @ centred))
    assert working is not None
    works = values >= working  # False for what is not defined
    if what == "largest":
        found = np.where(works, places[:, None], -np.inf).max(axis=0)
        return np.where(np.isfinite(found), found, np.nan)
    assert what == "decades"
    widths = [_widest(works[np.argsort(places), seed], np.sort(places)) for seed in range(values.shape[1])]
    return np.where(np.isnan(values).all(axis=0), np.nan, widths)


def _widest(works: NDArray[np.bool], places: Floats) -> float:
    """log10(last / first) of the widest band."""
    widest, first = 0.0, None
    for place, good in zip(places, works, strict=True):
        if not good:
            first = None
        elif first is None:
            first = place
        else:
            widest = max(widest, float(np.log10(place / first)))
    return widest
