"""TensorBoard's view of a run: one event file with scalars, histograms, pictures, texts, charts and hyperparameters.

One event holds a whole record, where torch's SummaryWriter makes one of every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from torch.utils.tensorboard.summary import custom_scalars, text

from normexp.record import About, Chart, Histogram, Picture, Record
from normexp.sinks import hparams
from normexp.sinks.event_file import EventFile


class TensorBoard:
    """Charts of several scalars are on the CUSTOM SCALARS page, hyperparameters and final metrics on HPARAMS."""

    def __init__(self, directory: Path, about: About) -> None:
        self._metrics = set(about.metrics)
        self._events = EventFile(directory)
        self._write(hparams.experiment(about.hyperparameters, about.metrics))
        self._write(hparams.start(about.hyperparameters))
        for title, content in about.texts.items():
            self._write(text(title, content))
        if about.charts:
            self._write(custom_scalars(_layout(about.charts)))
        self._events.flush()

    def _write(self, summary: Summary) -> None:
        self._events.write(summary=summary)

    def log(self, record: Record) -> None:
        # A chart of a single point says nothing; the numbers on convergence that HPARAMS lists are wanted there.
        shown = {t: v for t, v in record.scalars.items() if t in self._metrics or not t.startswith("convergence/")}
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in shown.items() if value is not None]
        values += [Summary.Value(tag=tag, histo=_proto(h)) for tag, h in record.histograms.items()]
        self._events.write(summary=Summary(value=values), step=record.step)
        if "val/accuracy" in record.scalars:  # with slow steps, the next write can be far away
            self._events.flush()

    def picture(self, tag: str, picture: Picture, step: int) -> None:
        """Show a picture on the IMAGES page."""
        image = Summary.Image(
            width=picture.width, height=picture.height, colorspace=3, encoded_image_string=picture.png
        )
        self._events.write(summary=Summary(value=[Summary.Value(tag=tag, image=image)]), step=step)

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


def _proto(histogram: Histogram) -> HistogramProto:
    return HistogramProto(
        min=histogram.minimum,
        max=histogram.maximum,
        num=sum(histogram.counts),
        sum=histogram.total,
        sum_squares=histogram.total_squares,
        bucket_limit=histogram.edges[1:],
        bucket=histogram.counts,
    )
