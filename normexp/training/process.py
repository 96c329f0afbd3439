"""Process-wide setup of a run: train.log, and the handling of Ctrl-C and SIGTERM."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from normexp.rundir import atomic

logger = logging.getLogger("normexp")
logger.addHandler(logging.NullHandler())  # without a log file, logging would print warnings to stderr


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Write this process's log records and warnings to a file; then restore its logging. Raises WriteError if the file can't be
    opened."""
    with atomic.writing(path):
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    # If a full disk truncates the log, that is not an error here: status.json has the reason.
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, show_warning = logger.level, warnings.showwarning
    logger.setLevel(logging.INFO)
    loggers = [logger, logging.getLogger("py.warnings")]
    for source in loggers:
        source.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        if warnings.showwarning is not show_warning:  # else they were captured before
            logging.captureWarnings(False)
        logger.setLevel(level)
        for source in loggers:
            source.removeHandler(handler)
        with suppress(OSError):
            handler.close()


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a request to stop after the current step; a second one raises KeyboardInterrupt.

    signal: number of the first one. finishing: set while the final status is written, so that further signals are ignored.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.finishing = False

    def requested(self) -> bool:
        return self.signal is not None

    def _request(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal is not None, self.signal or number
        if again and not self.finishing:
            raise KeyboardInterrupt

    @contextmanager
    def handling(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # signal handlers run only in the main thread
            yield
            return
        before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                # None: a handler that was not installed from Python, in a program that embeds it
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
