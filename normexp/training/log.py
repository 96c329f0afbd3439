"""train.log: what a person reads afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from normexp.rundir import atomic

logger = logging.getLogger("normexp")
logger.addHandler(logging.NullHandler())  # without a file, what is logged is not to be printed either


class Log(logging.FileHandler):
    """A log that a full disk cuts short, without a word on the terminal: what matters is in the status."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Everything that this run's process logs or warns of goes to the file. Raises WriteError where it can't be opened."""
    with atomic.writing(path):
        handler = Log(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.setLevel(logging.INFO)
    loggers = [logger, logging.getLogger("py.warnings")]
    for each in loggers:
        each.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for each in loggers:
            each.removeHandler(handler)
        handler.close()
