"""TensorBoard's view of a run: one event file with scalars, histograms and hyperparameters.

One event holds a whole record, where torch's SummaryWriter makes one of every number.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from torch.utils.tensorboard.summary import hparams

from normexp.config import show
from normexp.record import Histogram, Record

FLUSH_SECONDS = 5.0
"""How long TensorBoard may have to wait for what was logged."""


class TensorBoard:
    """hyperparameters: the flat config; metrics: the tags that TensorBoard's HPARAMS page shows beside them."""

    def __init__(self, directory: Path, hyperparameters: Mapping[str, Any], metrics: list[str]) -> None:
        self._metrics = set(metrics)
        self._events = EventFile(directory)
        known = {k: v if isinstance(v, bool | int | float | str) else show(v) for k, v in hyperparameters.items()}
        experiment, start, self._end = hparams(known, dict.fromkeys(metrics, 0.0))
        self._events.write(summary=experiment)
        self._events.write(summary=start)

    def log(self, record: Record) -> None:
        # A chart of a single point says nothing; the numbers on convergence that HPARAMS lists are wanted there.
        shown = {t: v for t, v in record.scalars.items() if t in self._metrics or not t.startswith("convergence/")}
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in shown.items() if value is not None]
        values += [Summary.Value(tag=tag, histo=_proto(h)) for tag, h in record.histograms.items()]
        self._events.write(summary=Summary(value=values), step=record.step)
        if "val/accuracy" in record.scalars:  # with slow steps, the next write can be far away
            self._events.flush()

    def close(self) -> None:
        self._events.write(summary=self._end)
        self._events.close()


class EventFile:
    """TensorBoard's file format: records of length (uint64), its checksum, an Event, its checksum; little-endian.

    tensorboard's own writer computes the checksums in Python, in a second thread that competes with training for the
    interpreter: 1.2 ms for the histograms of a small net, as much as one of its steps.
    Format: tensorboard/summary/writer/record_writer.py; the checksum is crc32c, masked.
    """

    def __init__(self, directory: Path) -> None:
        now = time.time()
        # The name that TensorBoard looks for, and no other file of this directory has.
        self._file = (directory / f"events.out.tfevents.{int(now):010d}.{time.monotonic_ns()}").open("xb")
        self._flushed = time.monotonic()
        self.write(file_version="brain.Event:2")

    def write(self, **event: Any) -> None:
        """Append an Event with the given fields, stamped with the time of day."""
        data = Event(wall_time=time.time(), **event).SerializeToString()
        header = struct.pack("<Q", len(data))
        self._file.write(header + _checksum(header) + data + _checksum(data))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        self._file.close()


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


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
