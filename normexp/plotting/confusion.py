"""Picture of a confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normexp.plotting.labels import safe_label, truncate
from normexp.plotting.style import encode_figure, figure_style
from normexp.rundir import atomic

MAX_NUMBERED = 30
"""Classes up to which each cell shows its number of samples. With more, the numbers would overlap: a color bar is shown."""


def write_confusion(path: Path, confusion: Any, names: Sequence[str]) -> None:
    """Draw the counts (K, K), colored by their share of the true class, as PNG, SVG or PDF, by the suffix. Raises WriteError."""
    import numpy as np
    from matplotlib.figure import Figure

    classes = len(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = 2 + min(0.4 * classes, 8)
    with figure_style():
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=False)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted class", ylabel="true class")
        step = max(1, classes // MAX_NUMBERED)
        ticks = range(0, classes, step)
        labels = [truncate(safe_label(names[k]), 16).replace("$", r"\$") for k in ticks]
        axes.set_xticks(list(ticks), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
        axes.set_yticks(list(ticks), labels)
        if classes <= MAX_NUMBERED:
            for i, j in np.argwhere(confusion > 0):
                color = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(confusion[i, j]), ha="center", va="center", fontsize=6, color=color)
        else:
            figure.colorbar(image, shrink=0.6, label="share of the true class")
        content = encode_figure(figure, path.suffix.lower().removeprefix("."), "Confusion matrix")
    atomic.write_bytes(path, content)
