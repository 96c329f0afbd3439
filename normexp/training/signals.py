"""Ctrl-C and SIGTERM, as a run heeds them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a request to stop after the step; a second one stops at once.

    over: whether the run is, so that it only writes how it ended, which nothing is to cut short.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.over = False

    def _request(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal is not None, self.signal or number
        if again and not self.over:
            raise KeyboardInterrupt

    @contextmanager
    def handling(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # Python gives signals to the main thread alone
            yield
            return
        before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
