"""TensorBoard's file format."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event

FLUSH_SECONDS = 5.0
"""How long TensorBoard may have to wait for what was logged."""


class EventFile:
    """Records of length (uint64), its checksum, an Event, its checksum; little-endian.

    tensorboard's own writer computes the checksums in Python, in a second thread that competes with training for the
    interpreter: 1.2 ms for the histograms of a small net, as much as one of its steps.
    Format: tensorboard/summary/writer/record_writer.py; the checksum is crc32c, masked.
    """

    def __init__(self, directory: Path) -> None:
        now = time.time()
        # The name that TensorBoard looks for, and no other file of this directory has.
        self._file = (directory / f"events.out.tfevents.{int(now):010d}.{time.monotonic_ns()}").open("xb")
        self._flushed = time.monotonic()
        self.write(Event(file_version="brain.Event:2"))

    def write(self, event: Event) -> None:
        """Append an event, stamped with the time of day."""
        event.wall_time = time.time()
        data = event.SerializeToString()
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
