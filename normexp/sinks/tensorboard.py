"""TensorBoard: one event file with scalars, histograms, pictures, texts, charts and hyperparameters."""

import logging
import os
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from torch.utils.tensorboard.summary import custom_scalars, text

from normexp.records import Chart, Histogram, Hyperparameter, Picture, Record, RunInfo
from normexp.rundir.atomic import fsync, replacing, writing

PATTERN = "events.out.tfevents.*"  # the file names that TensorBoard reads
FLUSH_SECONDS = 5.0  # how long events may stay in the buffer before TensorBoard can read them

HEADLINES = {"batch_size", "data", "lr", "model", "norm"}
"""Hyperparameters that the HPARAMS page shows by default: they are declared to differ between runs."""

HPARAM_TYPES = {
    bool: (api_pb2.DATA_TYPE_BOOL, "bool_value"),
    float: (api_pb2.DATA_TYPE_FLOAT64, "number_value"),
    str: (api_pb2.DATA_TYPE_STRING, "string_value"),
}

logger = logging.getLogger("normexp")


class EventFile:
    """Writes an event file. A record is a length (uint64), its checksum, an Event, and its checksum, little-endian.

    tensorboard's own writer computes the checksums in Python, in a thread that competes with training for the GIL: 1.2 ms for the
    histograms of a small network, as long as one of its steps.
    Format: tensorboard/summary/writer/record_writer.py; the checksum is a masked crc32c.
    """

    def __init__(self, directory: Path, first: Iterable[Event], *, keep: int = 0) -> None:
        """Start a new file and delete the existing ones.

        keep: bytes to copy from the newest existing file; `kept` tells whether it had that many. If not, the file begins with the
        events `first`.

        The new name sorts after the existing ones even if the clock was set back, so that a running TensorBoard that has read
        beyond `keep` reads the new file from its start and replaces what it shows.
        """
        old = sorted(directory.glob(PATTERN))
        content = old[-1].read_bytes()[:keep] if old and keep else b""
        self.kept = keep > 0 and len(content) == keep
        times = [path.name.split(".")[3] for path in old]
        now = max([int(time.time()), *(int(digits) + 1 for digits in times if digits.isdecimal())])
        self._path = directory / f"events.out.tfevents.{now:010d}.{time.monotonic_ns()}"
        self._flushed = time.monotonic()
        if not self.kept:
            content = b"".join(_encode(event) for event in (Event(file_version="brain.Event:2"), *first))
        with replacing(self._path) as temporary:
            temporary.write_bytes(content)
            fsync(temporary)
        for path in old:
            with writing(path):
                path.unlink()
        with writing(self._path):
            self._file = self._path.open("ab")

    def write(self, event: Event) -> None:
        """Append an event with the current time. Raises WriteError, possibly for an earlier, buffered event."""
        with writing(self._path):
            self._file.write(_encode(event))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        with writing(self._path):
            self._file.flush()
        self._flushed = time.monotonic()

    def sync(self) -> int:
        """Flush to disk with fsync; returns the size in bytes."""
        self.flush()
        with writing(self._path):
            os.fsync(self._file.fileno())
            return self._file.tell()

    def close(self) -> None:
        with writing(self._path):
            self._file.close()


def _encode(event: Event) -> bytes:
    event.wall_time = time.time()
    data: bytes = event.SerializeToString()
    header = struct.pack("<Q", len(data))
    return header + _checksum(header) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class TensorBoard:
    """Writes a run's event file. Charts of several scalars appear on the CUSTOM SCALARS page, final metrics on HPARAMS.

    A record is written as one event, where torch's SummaryWriter writes one event per scalar.
    """

    def __init__(self, directory: Path, info: RunInfo, saved: Mapping[str, Any] | None = None) -> None:
        self._metrics = set(info.metrics)
        first = [_hparam_columns(info.hyperparameters, info.metrics), _hparam_values(info.hyperparameters)]
        first += [text(title, content) for title, content in info.texts.items()]
        if info.charts:
            first.append(custom_scalars(_layout(info.charts)))
        events = [Event(summary=summary) for summary in first]
        self._events = EventFile(directory, events, keep=saved["size"] if saved else 0)
        if saved and not self._events.kept:
            logger.warning("TensorBoard's event file is missing or truncated; it now starts at the resumed step")

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
        if "val/accuracy" in record.scalars:  # with slow steps, the next write may be minutes away
            self._events.flush()

    def picture(self, tag: str, picture: Picture, step: int) -> None:
        """Show a picture on the IMAGES page."""
        size = {"width": picture.width, "height": picture.height}
        image = Summary.Image(**size, colorspace=3, encoded_image_string=picture.png)
        self._events.write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))

    def state_dict(self) -> dict[str, Any]:
        return {"size": self._events.sync()}

    def close(self, *, success: bool) -> None:
        status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
        info = SessionEndInfo(status=status, end_time_secs=time.time())
        summary = _hparam_summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))
        try:
            self._events.write(Event(summary=summary))
        finally:  # a write fails if events that were buffered before don't fit on the disk
            self._events.close()


def _layout(charts: Sequence[Chart]) -> dict[str, dict[str, list[object]]]:
    """Argument of torch's custom_scalars: charts by page. TensorBoard shows charts with bands in reverse order."""
    pages: dict[str, dict[str, list[object]]] = {chart.page: {} for chart in charts}
    for chart in charts:
        if not chart.band:
            pages[chart.page][chart.title] = ["Multiline", list(chart.lines)]
    for chart in reversed(charts):
        if chart.band:
            pages[chart.page][chart.title] = ["Margin", list(chart.band)]
    return pages


def _fill(proto: HistogramProto, histogram: Histogram) -> None:
    """Copy a histogram. Trim empty end bins; TensorBoard drops them anyway."""
    proto.min, proto.max = histogram.minimum, histogram.maximum
    proto.num, proto.sum, proto.sum_squares = sum(histogram.counts), histogram.total, histogram.total_squares
    occupied = [i for i, count in enumerate(histogram.counts) if count]
    start, stop = (occupied[0], occupied[-1] + 1) if occupied else (0, 1)
    proto.bucket_limit.extend(histogram.edges[start + 1 : stop + 1])
    proto.bucket.extend(histogram.counts[start:stop])


# Summaries for the HPARAMS page. It takes its columns from the first run that it reads, so every run declares all columns, with
# the same types. tensorboard.plugins.hparams.summary does the same, but imports tensorflow.


def _hparam_columns(hyperparameters: Mapping[str, Hyperparameter], metrics: Sequence[str]) -> Summary:
    hparam_infos = [
        api_pb2.HParamInfo(name=name, type=HPARAM_TYPES[hyperparameter.kind][0], differs=name in HEADLINES)
        for name, hyperparameter in hyperparameters.items()
    ]
    metric_infos = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    experiment = api_pb2.Experiment(hparam_infos=hparam_infos, metric_infos=metric_infos)
    return _hparam_summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))


def _hparam_values(hyperparameters: Mapping[str, Hyperparameter]) -> Summary:
    """This run's values. None leaves the cell blank."""
    info = SessionStartInfo(start_time_secs=time.time())
    for name, hyperparameter in hyperparameters.items():
        if hyperparameter.value is not None:
            _, field = HPARAM_TYPES[hyperparameter.kind]
            setattr(info.hparams[name], field, hyperparameter.value)
    return _hparam_summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def _hparam_summary(tag: str, data: HParamsPluginData) -> Summary:
    data.version = metadata.PLUGIN_DATA_VERSION
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])
