"""train.log: progress, warnings and tracebacks of a run, for people."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from normexp.rundir import atomic

logger = logging.getLogger("normexp")
logger.addHandler(logging.NullHandler())  # without a log file, logging would print warnings to stderr


class BestEffortFileHandler(logging.FileHandler):
    """A file handler that ignores write errors: on a full disk the log is cut short, and the status tells the reason."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Write this process's log records and warnings to a file. Raises WriteError if it can't be opened."""
    with atomic.writing(path):
        handler = BestEffortFileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.setLevel(logging.INFO)
    loggers = [logger, logging.getLogger("py.warnings")]
    for source in loggers:
        source.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for source in loggers:
            source.removeHandler(handler)
        handler.close()
