"""TensorBoard's view of a run: one event file with scalars, histograms and hyperparameters.

Written through tensorboard's own writer: one event a record, where torch's SummaryWriter makes one of every number.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard.summary import hparams

from normexp.config import show
from normexp.record import Histogram, Record


class TensorBoard:
    """hyperparameters: the flat config; metrics: the tags that TensorBoard's HPARAMS page shows beside them."""

    def __init__(self, directory: Path, hyperparameters: Mapping[str, Any], metrics: list[str]) -> None:
        self._writer = EventFileWriter(str(directory), flush_secs=10)
        experiment, start, self._end = hparams(
            {key: value if isinstance(value, bool | int | float | str) else show(value) for key, value in hyperparameters.items()},
            dict.fromkeys(metrics, 0.0),
        )
        self._write(experiment, step=0)
        self._write(start, step=0)

    def log(self, record: Record) -> None:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in record.scalars.items() if value is not None]
        values += [Summary.Value(tag=tag, histo=_proto(h)) for tag, h in record.histograms.items()]
        self._write(Summary(value=values), step=record.step)

    def close(self) -> None:
        self._write(self._end, step=0)
        self._writer.close()

    def _write(self, summary: Any, *, step: int) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


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
