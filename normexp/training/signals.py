"""Ctrl-C and SIGTERM during a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a request to stop after the current step; a second one raises KeyboardInterrupt.

    signal: the first one's number. finishing: set when the run only writes how it ended; further signals are then ignored.
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
                signal.signal(number, handler)
