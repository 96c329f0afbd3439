"""TensorBoard's file format."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event

from normexp.rundir.atomic import replacing, to_disk, writing

PATTERN = "events.out.tfevents.*"
"""The names that TensorBoard looks for."""

FLUSH_SECONDS = 5.0
"""How long TensorBoard may have to wait for what was logged."""


class EventFile:
    """Records of length (uint64), its checksum, an Event, its checksum; little-endian.

    tensorboard's own writer computes the checksums in Python, in a second thread that competes with training for the
    interpreter: 1.2 ms for the histograms of a small net, as much as one of its steps.
    Format: tensorboard/summary/writer/record_writer.py; the checksum is crc32c, masked.
    """

    def __init__(self, directory: Path, first: Iterable[Event], *, keep: int = 0) -> None:
        """keep: bytes of the directory's newest file that this one begins with; `kept` says whether it had as many. Otherwise it
        begins with the `first` events. It takes the place of all that are there.

        A TensorBoard that has read on beyond them starts this one from its beginning, and shows it in their stead: for that it
        must have another name, which comes behind theirs even if the clock was set back.
        """
        old = sorted(directory.glob(PATTERN))
        begin = old[-1].read_bytes()[:keep] if old and keep else b""
        self.kept = keep > 0 and len(begin) == keep
        times = [path.name.split(".")[3] for path in old]
        now = max([int(time.time()), *(int(text) + 1 for text in times if text.isdecimal())])
        self._path = directory / f"events.out.tfevents.{now:010d}.{time.monotonic_ns()}"
        self._flushed = time.monotonic()
        if not self.kept:
            begin = b"".join(_record(event) for event in (Event(file_version="brain.Event:2"), *first))
        with replacing(self._path) as temporary:
            temporary.write_bytes(begin)
            to_disk(temporary)
        for path in old:
            with writing(path):
                path.unlink()
        with writing(self._path):
            self._file = self._path.open("ab")

    def write(self, event: Event) -> None:
        """Append an event, stamped with the time of day. Raises WriteError, perhaps for one that was written before."""
        with writing(self._path):
            self._file.write(_record(event))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        with writing(self._path):
            self._file.flush()
        self._flushed = time.monotonic()

    def sync(self) -> int:
        """Everything written is on the disk; returns how many bytes that are."""
        self.flush()
        with writing(self._path):
            os.fsync(self._file.fileno())
            return self._file.tell()

    def close(self) -> None:
        with writing(self._path):
            self._file.close()


def _record(event: Event) -> bytes:
    event.wall_time = time.time()
    data: bytes = event.SerializeToString()
    header = struct.pack("<Q", len(data))
    return header + _checksum(header) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
