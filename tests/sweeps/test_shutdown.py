"""Signals stop a sweep even if its display fails."""

import os
import signal
import threading
from contextlib import contextmanager

import pytest

from normexp.sweeps.shutdown import Watcher
from tests.sweeps.sweeping import wait_for


class Display:
    """A view that calls the same function on each tick."""

    pause = 0.01

    def __init__(self, tick):
        self.ticked = threading.Event()
        self._tick = tick

    @contextmanager
    def shown(self):
        yield

    def say(self, text):
        self.tick()

    def tick(self):
        self.ticked.set()
        self._tick()


def fail():
    raise ZeroDivisionError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("broken", ["fails", "hangs"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_signal_stops_a_sweep_whose_display_is_broken(broken, number, tmp_path):
    session, resumed = tmp_path / "session", threading.Event()
    session.touch()
    display = Display(fail if broken == "fails" else resumed.wait)
    watch = Watcher(display, tmp_path, session)
    with pytest.raises(KeyboardInterrupt), watch.running(local=True):
        try:
            assert display.ticked.wait(30)
            os.kill(os.getpid(), number)
            wait_for(lambda: False, 10)
        finally:
            resumed.set()
    assert watch.signal == number
    assert not session.exists()
