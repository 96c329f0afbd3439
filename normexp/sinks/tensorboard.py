"""TensorBoard: one event file with scalars, histograms, pictures, texts, charts and hyperparameters.

A record is written as one event, where torch's SummaryWriter writes one event per scalar.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from torch.utils.tensorboard.summary import custom_scalars, text

from normexp.records import Chart, Histogram, Picture, Record, RunInfo
from normexp.sinks import hparams
from normexp.sinks.event_file import EventFile

logger = logging.getLogger("normexp")


class TensorBoard:
    """Writes a run's event file. Charts of several scalars appear on the CUSTOM SCALARS page, final metrics on HPARAMS."""

    def __init__(self, directory: Path, info: RunInfo, saved: Mapping[str, Any] | None = None) -> None:
        self._metrics = set(info.metrics)
        first = [hparams.experiment(info.hyperparameters, info.metrics), hparams.start(info.hyperparameters)]
        first += [text(title, content) for title, content in info.texts.items()]
        if info.charts:
            first.append(custom_scalars(_layout(info.charts)))
        events = [Event(summary=summary) for summary in first]
        self._events = EventFile(directory, events, keep=saved["size"] if saved else 0)
        if saved and not self._events.kept:
            logger.warning("TensorBoard's file is gone or was cut short: there, the run begins where it goes on")

    def _write(self, summary: Summary) -> None:
        self._events.write(Event(summary=summary))

    def log(self, record: Record) -> None:
        event = Event(step=record.step)
        add = event.summary.value.add  # fill in place: protobuf copies a message that is put into another
        for tag, value in record.scalars.items():
            # Convergence tags have one value per run: a chart of a single point is useless, but HPARAMS lists some of them.
            if value is not None and (tag in self._metrics or not tag.startswith("convergence/")):
                add(tag=tag, simple_value=value)
        for tag, histogram in record.histograms.items():
            _fill(add(tag=tag).histo, histogram)
        self._events.write(event)
        if "val/accuracy" in record.scalars:  # the next write may be far away if steps are slow
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
    """The argument of torch's custom_scalars: charts by page. The page shows charts with bands in reverse order."""
    pages: dict[str, dict[str, list[object]]] = {chart.page: {} for chart in charts}
    for chart in (chart for chart in charts if not chart.band):
        pages[chart.page][chart.title] = ["Multiline", list(chart.lines)]
    for chart in (chart for chart in reversed(charts) if chart.band):
        pages[chart.page][chart.title] = ["Margin", list(chart.band or ())]
    return pages


def _fill(proto: HistogramProto, histogram: Histogram) -> None:
    """Copy a histogram, without empty bins at either end: TensorBoard drops them anyway."""
    proto.min, proto.max = histogram.minimum, histogram.maximum
    proto.num, proto.sum, proto.sum_squares = sum(histogram.counts), histogram.total, histogram.total_squares
    occupied = [i for i, count in enumerate(histogram.counts) if count]
    start, stop = (occupied[0], occupied[-1] + 1) if occupied else (0, 1)
    proto.bucket_limit.extend(histogram.edges[start + 1 : stop + 1])
    proto.bucket.extend(histogram.counts[start:stop])
