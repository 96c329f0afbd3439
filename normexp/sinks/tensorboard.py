"""TensorBoard's view of a run: one event file with scalars, histograms, pictures, texts, charts and hyperparameters.

One event holds a whole record, where torch's SummaryWriter makes one of every number.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from torch.utils.tensorboard.summary import custom_scalars, text

from normexp.records import About, Chart, Histogram, Picture, Record
from normexp.sinks import hparams
from normexp.sinks.event_file import EventFile

logger = logging.getLogger("normexp")


class TensorBoard:
    """Charts of several scalars are on the CUSTOM SCALARS page, hyperparameters and final metrics on HPARAMS."""

    def __init__(self, directory: Path, about: About, saved: Mapping[str, Any] | None = None) -> None:
        self._metrics = set(about.metrics)
        first = [hparams.experiment(about.hyperparameters, about.metrics), hparams.start(about.hyperparameters)]
        first += [text(title, content) for title, content in about.texts.items()]
        if about.charts:
            first.append(custom_scalars(_layout(about.charts)))
        events = [Event(summary=summary) for summary in first]
        self._events = EventFile(directory, events, keep=saved["size"] if saved else 0)
        if saved and not self._events.kept:
            logger.warning("TensorBoard's file is gone or was cut short: there, the run begins where it goes on")

    def _write(self, summary: Summary) -> None:
        self._events.write(Event(summary=summary))

    def log(self, record: Record) -> None:
        # A chart of a single point says nothing; the numbers on convergence that HPARAMS lists are wanted there.
        shown = {t: v for t, v in record.scalars.items() if t in self._metrics or not t.startswith("convergence/")}
        event = Event(step=record.step)
        add = event.summary.value.add  # in place: a message is copied when it is put into another
        for tag, value in shown.items():
            if value is not None:
                add(tag=tag, simple_value=value)
        for tag, histogram in record.histograms.items():
            _fill(add(tag=tag).histo, histogram)
        self._events.write(event)
        if "val/accuracy" in record.scalars:  # with slow steps, the next write can be far away
            self._events.flush()

    def picture(self, tag: str, picture: Picture, step: int) -> None:
        """Show a picture on the IMAGES page."""
        image = Summary.Image(
            width=picture.width, height=picture.height, colorspace=3, encoded_image_string=picture.png
        )
        self._events.write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))

    def state_dict(self) -> dict[str, Any]:
        return {"size": self._events.sync()}

    def close(self, *, success: bool) -> None:
        self._write(hparams.end(success=success))
        self._events.close()


def _layout(charts: Sequence[Chart]) -> dict[str, dict[str, list[object]]]:
    """As torch's custom_scalars takes it: pages of charts. Charts with bands come last first: so the page turns them."""
    pages: dict[str, dict[str, list[object]]] = {chart.page: {} for chart in charts}
    for chart in (each for each in charts if not each.band):
        pages[chart.page][chart.title] = ["Multiline", list(chart.lines)]
    for chart in (each for each in reversed(charts) if each.band):
        pages[chart.page][chart.title] = ["Margin", list(chart.band or ())]
    return pages


def _fill(proto: HistogramProto, histogram: Histogram) -> None:
    """Without empty bins at either end, which TensorBoard takes away when it reads them."""
    proto.min, proto.max = histogram.minimum, histogram.maximum
    proto.num, proto.sum, proto.sum_squares = sum(histogram.counts), histogram.total, histogram.total_squares
    full = [i for i, count in enumerate(histogram.counts) if count]
    first, last = (full[0], full[-1] + 1) if full else (0, 1)
    proto.bucket_limit.extend(histogram.edges[first + 1 : last + 1])
    proto.bucket.extend(histogram.counts[first:last])
