"""histograms.png: the histograms of all layers over time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from normexp.plotting.density import History, Snapshot
from normexp.plotting.sheet import COLUMNS, Sheet, draw_sheets
from normexp.records import Picture, Record
from normexp.rundir.atomic import write_bytes


class HistogramSheet:
    """Collects histograms. Draws them at evaluations, once their number has grown by half, and at the end.

    path: the PNG, replaced atomically. subtitle: its second line. show: also called with each picture and its step.
    """

    def __init__(
        self, path: Path, subtitle: str, show: Callable[[Picture, int], None], saved: Mapping[str, Any] | None = None
    ) -> None:
        saved = saved or {"drawn": -1, "looked": -1, "histories": {}}
        self._path, self._subtitle, self._show = path, subtitle, show
        self._drawn_step, self._last_step = saved["drawn"], saved["looked"]
        self._histories = {
            layer: {group: _from_state(state) for group, state in row.items()}
            for layer, row in saved["histories"].items()
        }

    def log(self, record: Record) -> None:
        for tag, histogram in record.histograms.items():
            group, _, layer = tag.partition("/")
            if group in COLUMNS:
                self._histories.setdefault(layer, {}).setdefault(group, History()).add(record.step, histogram)
                self._last_step = record.step
        if "val/accuracy" in record.scalars and self._has_grown():
            self.draw()

    def _has_grown(self) -> bool:
        """Whether there are at least half as many new snapshots as drawn ones. Drawing after each evaluation would be slow: it
        takes as long as many steps of a small network."""
        histories = [history.steps for row in self._histories.values() for history in row.values()]
        steps = max(histories, key=len, default=[])
        drawn = len([step for step in steps if step <= self._drawn_step])
        return 2 * (len(steps) - drawn) >= drawn

    def close(self, *, success: bool) -> None:
        self.draw()

    def state_dict(self) -> dict[str, Any]:
        histories = {
            layer: {group: _to_state(history) for group, history in row.items()}
            for layer, row in self._histories.items()
        }
        return {"drawn": self._drawn_step, "looked": self._last_step, "histories": histories}

    def draw(self) -> None:
        """Draw a new picture, unless nothing was added since the last one."""
        if self._last_step > self._drawn_step:
            self._drawn_step = self._last_step
            (picture,) = draw_sheets([Sheet(self._path.absolute().parent.name, self._subtitle, self._histories)])
            write_bytes(self._path, picture.png)
            self._show(picture, self._last_step)


def _to_state(history: History) -> dict[str, Any]:
    """Tensors and plain values for a checkpoint."""
    steps, lows, widths, counts = (list(column) for column in zip(*history.snapshots, strict=True))
    series = {"steps": steps, "lows": lows, "widths": widths, "counts": torch.from_numpy(np.stack(counts))}
    return {**series, "every": history.every, "seen": history.seen}


def _from_state(state: Mapping[str, Any]) -> History:
    history = History()
    columns = state["steps"], state["lows"], state["widths"], state["counts"].numpy()
    history.snapshots = [Snapshot(*row) for row in zip(*columns, strict=True)]
    history.every, history.seen = state["every"], state["seen"]
    return history
