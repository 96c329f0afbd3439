"""TensorBoard's event file format."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event

from normexp.rundir.atomic import fsync, replacing, writing

PATTERN = "events.out.tfevents.*"
"""The file names that TensorBoard reads."""

FLUSH_SECONDS = 5.0
"""How long events may stay in the buffer before TensorBoard can read them."""


class EventFile:
    """Writes an event file. Each record is a length (uint64), its checksum, an Event, and its checksum, little-endian.

    tensorboard's own writer computes the checksums in Python, in a thread that competes with training for the interpreter:
    1.2 ms for the histograms of a small network, as long as one of its steps.
    Format: tensorboard/summary/writer/record_writer.py; the checksum is a masked crc32c.
    """

    def __init__(self, directory: Path, first: Iterable[Event], *, keep: int = 0) -> None:
        """Start a new file, and delete the existing ones.

        keep: the number of bytes to copy from the newest existing file; `kept` tells whether it had that many. Otherwise the
        file begins with the events `first`.

        The name sorts after the existing ones, even if the clock was set back: a running TensorBoard that has read beyond
        `keep` then reads the new file from its beginning and replaces what it shows.
        """
        old = sorted(directory.glob(PATTERN))
        content = old[-1].read_bytes()[:keep] if old and keep else b""
        self.kept = keep > 0 and len(content) == keep
        times = [path.name.split(".")[3] for path in old]
        now = max([int(time.time()), *(int(digits) + 1 for digits in times if digits.isdecimal())])
        self._path = directory / f"events.out.tfevents.{now:010d}.{time.monotonic_ns()}"
        self._flushed = time.monotonic()
        if not self.kept:
            content = b"".join(_record(event) for event in (Event(file_version="brain.Event:2"), *first))
        with replacing(self._path) as temporary:
            temporary.write_bytes(content)
            fsync(temporary)
        for path in old:
            with writing(path):
                path.unlink()
        with writing(self._path):
            self._file = self._path.open("ab")

    def write(self, event: Event) -> None:
        """Append an event with the current time. Raises WriteError, possibly for an earlier event that was buffered."""
        with writing(self._path):
            self._file.write(_record(event))
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


def _record(event: Event) -> bytes:
    event.wall_time = time.time()
    data: bytes = event.SerializeToString()
    header = struct.pack("<Q", len(data))
    return header + _checksum(header) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
