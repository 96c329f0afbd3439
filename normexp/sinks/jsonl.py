"""metrics.jsonl, the record of a run: one strict JSON object a step."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normexp.records import Record
from normexp.rundir import json_line
from normexp.rundir.atomic import writing


class JsonLines:
    """Appends each record and hands it to the system at once, so that a killed run keeps what it logged.

    saved: the state to go on from; what was written after it is cut off.
    """

    def __init__(self, path: Path, saved: Mapping[str, Any] | None = None) -> None:
        self._path = path
        with writing(path):
            path.touch()
            os.truncate(path, saved["size"] if saved else 0)
            self._file = path.open("ab")

    @staticmethod
    def extends(path: Path, saved: Mapping[str, Any]) -> bool:
        """Whether the file still begins with the lines it had at the saved state: as long, and cut after a whole line. False for
        a file that somebody has reformatted."""
        if not path.is_file():
            return False
        content = path.read_bytes()[: saved["size"]]
        last = content[:-1].rpartition(b"\n")[2]
        whole = not content or (last.startswith(b"{") and content.endswith(b"}\n"))
        return len(content) == saved["size"] and whole

    def log(self, record: Record) -> None:
        if not record.scalars:  # histograms alone have no place here
            return
        entry = {"step": record.step, "epoch": record.epoch, "seconds": round(record.seconds, 6), **record.scalars}
        with writing(self._path):
            self._file.write(json_line(entry))
            self._file.flush()

    def close(self, *, success: bool) -> None:
        with writing(self._path):
            self._file.close()

    def state_dict(self) -> dict[str, Any]:
        with writing(self._path):
            if os.fstat(self._file.fileno()).st_nlink == 0:
                raise OSError(errno.ESTALE, "it is gone")
            os.fsync(self._file.fileno())
            return {"size": self._file.tell()}
