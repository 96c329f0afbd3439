"""metrics.jsonl: one strict JSON object per logged step, with all scalars."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normexp.records import Record
from normexp.rundir import json_line
from normexp.rundir.atomic import writing


def entry(record: Record) -> dict[str, Any]:
    """A record's line, before non-finite numbers are replaced."""
    return {"step": record.step, "epoch": record.epoch, "seconds": round(record.seconds, 6), **record.scalars}


class JsonLines:
    """Appends each record and flushes it, so that nothing is lost if the run is killed.

    saved: the state to resume from; later lines are removed.
    """

    def __init__(self, path: Path, saved: Mapping[str, Any] | None = None) -> None:
        self._path = path
        with writing(path):
            path.touch()
            os.truncate(path, saved["size"] if saved else 0)
            self._file = path.open("ab")

    @staticmethod
    def is_continuation(path: Path, saved: Mapping[str, Any]) -> bool:
        """Whether the file still contains the lines of the saved state: it is at least as long, and a line ends at that size.
        False if it was reformatted."""
        if not path.is_file():
            return False
        content = path.read_bytes()[: saved["size"]]
        last_line = content[:-1].rpartition(b"\n")[2]
        complete = not content or (last_line.startswith(b"{") and content.endswith(b"}\n"))
        return len(content) == saved["size"] and complete

    def log(self, record: Record) -> None:
        if not record.scalars:  # histograms are not stored here
            return
        with writing(self._path):
            self._file.write(json_line(entry(record)))
            self._file.flush()

    def close(self, *, success: bool) -> None:
        with writing(self._path):
            self._file.close()

    def state_dict(self) -> dict[str, Any]:
        with writing(self._path):
            if os.fstat(self._file.fileno()).st_nlink == 0:
                raise OSError(errno.ESTALE, "file was deleted")
            os.fsync(self._file.fileno())
            return {"size": self._file.tell()}
