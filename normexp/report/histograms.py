"""Histograms of runs, read from their event files and drawn on common axes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from normexp.report.read import Run
from normexp.rundir import safe_read

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import HistogramProto

    from normexp.plotting.density import Snapshot
    from normexp.plotting.sheet import Histories

MAX_EVENT_BYTES = 100_000_000
"""A larger event file takes seconds to read."""

MAX_BINS = 10_000
"""All histograms of a layer are padded to the longest, so one long histogram could fill the memory."""

MAX_COUNT, MAX_VALUE = 2**50, 3e38
"""Larger numbers, from damaged files, are left out so that nothing overflows."""

MAX_LAYERS = 200
"""More layers, as in a damaged file, would make a picture that no browser shows."""


def draw_on_common_axes(runs: Sequence[Run]) -> list[bytes]:
    """The histogram sheets of the runs as PNG, with the same value ranges, colors and steps. Empty if the histograms of a run
    are missing, unreadable or too large."""
    from normexp.plotting.sheet import Sheet, draw_sheets

    sheets = []
    for run in runs:
        histories = read_histories(run)
        if not 0 < len(histories) <= MAX_LAYERS:
            return []
        choices = ", ".join(f"{key}={run.config.get(key)}" for key in ("norm", "model", "data"))
        sheets.append(Sheet(run.name, choices, histories))
    return [picture.png for picture in draw_sheets(sheets)]


def read_histories(run: Run) -> Histories:
    """The histograms in a run's event file, by layer and column of the sheet. Empty if it can't be read."""
    import numpy as np

    from normexp.plotting.density import History
    from normexp.plotting.sheet import COLUMNS

    found: dict[str, dict[str, list[Snapshot]]] = {}
    for event in _events(run):
        for value in event.summary.value:
            column, _, layer = value.tag.partition("/")
            if column not in COLUMNS or not value.HasField("histo"):
                continue
            if snapshot := _to_snapshot(event.step, value.histo):
                snapshots = found.setdefault(layer, {}).setdefault(column, [])
                if not snapshots or snapshot.step > snapshots[-1].step:
                    snapshots.append(snapshot)
    histories: dict[str, dict[str, History]] = {}
    for layer, row in found.items():
        for column, snapshots in row.items():
            history = histories.setdefault(layer, {})[column] = History()
            bins = max(len(snapshot.counts) for snapshot in snapshots)
            for snapshot in snapshots:
                counts = np.pad(snapshot.counts, (0, bins - len(snapshot.counts)))
                history.append(snapshot._replace(counts=counts))
    return histories


def _events(run: Run) -> Iterator[Event]:
    """The events of a run up to the first damaged one. Each is framed by its length, two checksums and nothing else."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        newest = max(run.directory.glob("events.out.tfevents.*"))
        content = memoryview(safe_read.read(newest, max_bytes=MAX_EVENT_BYTES))
    except (OSError, ValueError):  # ValueError: no such file
        return
    start = 0
    while start + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        start += 12
        if start + length > len(content):
            return
        try:
            yield Event.FromString(bytes(content[start : start + length]))
        except DecodeError:
            return
        start += length + 4


def _to_snapshot(step: int, histogram: HistogramProto) -> Snapshot | None:
    """A histogram without its empty end bins. None if it is not one of normexp's, with equal bins and finite edges."""
    import numpy as np

    from normexp.plotting.density import Snapshot

    counts, upper = np.array(histogram.bucket), histogram.bucket_limit
    fits = 0 < len(counts) == len(upper) <= MAX_BINS and 0 <= step < MAX_COUNT
    if not fits or not ((counts >= 0) & (counts < MAX_COUNT)).all():
        return None
    # The lower edge of a single bin is not stored, but the lowest and the highest value are.
    low, high = (upper[0] - (upper[1] - upper[0]), upper[-1]) if len(upper) > 1 else (histogram.min, histogram.max)
    width = (high - low) / len(upper)
    if not (abs(low) < MAX_VALUE and 0 <= width < MAX_VALUE):
        return None
    return Snapshot(step, low, width or max(abs(low), 1.0) * 1e-6, counts.astype(np.float32))
