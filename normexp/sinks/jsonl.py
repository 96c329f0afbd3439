"""metrics.jsonl, the record of a run: one strict JSON object a step."""

from __future__ import annotations

from pathlib import Path

from normexp.record import Record
from normexp.rundir import to_json


class JsonLines:
    """Appends each record and hands it to the system at once, so that a killed run keeps what it logged."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def log(self, record: Record) -> None:
        if not record.scalars:  # histograms alone have no place here
            return
        entry = {"step": record.step, "epoch": record.epoch, "seconds": round(record.seconds, 6), **record.scalars}
        self._file.write(to_json(entry) + "\n")
        self._file.flush()

    def close(self, *, success: bool) -> None:
        self._file.close()
