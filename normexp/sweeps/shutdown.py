"""Show progress and handle Ctrl-C while a sweep's launcher runs."""

import _thread
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType

from joblib.externals.loky import backend as loky

from normexp.rundir import lock, process
from normexp.sweeps.progress import ProgressView

SIGNALS = {signal.SIGINT, signal.SIGTERM}

STOP_TIMEOUT = 15.0
"""Seconds that runs get after Ctrl-C to finish their step and write their files."""

POLL_INTERVAL = 0.25
"""Seconds between two checks for signals."""


class Watcher:
    """Two threads next to the launcher: one handles signals, one shows progress.

    They are separate so that signals stop the sweep even if the display fails or the terminal blocks. The first signal deletes
    the session file, so no further run starts, and asks the running ones to stop after their step. When they have stopped, or
    at a second signal, the launcher is interrupted.

    Ctrl-C on a terminal reaches every process of the sweep. The main thread therefore blocks the signals, and its children
    inherit that. A signal then goes to a thread that does not block it, and so to the handler, or it stays pending.

    Attribute signal: the first signal received, or None.
    """

    def __init__(self, view: ProgressView, folder: Path, session: Path) -> None:
        self._view, self._folder, self._session = view, folder, session
        self._over = threading.Event()
        self._received: list[int] = []
        self._stopping: set[int] = set()
        self._giving_up = False
        self.signal: int | None = None
        self._asked = 0.0

    @contextmanager
    def running(self, *, local: bool) -> Iterator[None]:
        """Run both threads during the block. local: whether the runs are processes of this machine that end with this one."""
        mine = local and threading.current_thread() is threading.main_thread()
        display, signals = (threading.Thread(target=work, daemon=True) for work in (self._show, self._act_on_signals))
        try:
            with self._signals_handled() if mine else nullcontext():
                display.start()
                signals.start()
                try:
                    yield
                finally:
                    self._over.set()
                    signals.join()
        finally:  # Ctrl-C has its usual effect here, in case the display hangs
            display.join()

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        for tracker in (multiprocessing.resource_tracker, loky.resource_tracker):
            tracker.ensure_running()  # when it starts, it unblocks signals
        handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._giving_up:
            raise KeyboardInterrupt
        self._received.append(number)

    def _show(self) -> None:
        said = over = False
        with self._view.shown():
            while not over:
                over = self._over.wait(self._view.pause)
                if self.signal is not None and not said:
                    self._view.say("stopping when the current steps are done; press Ctrl-C again to stop at once")
                    said = True
                self._view.tick()

    def _act_on_signals(self) -> None:
        while not self._over.wait(POLL_INTERVAL):
            self._received += [signal.sigwait({number}) for number in SIGNALS & signal.sigpending()]
            while self._received:
                number = self._received.pop(0)
                if self.signal is None:
                    self.signal, self._asked = number, time.monotonic()
                    with suppress(OSError):  # the runs are asked to stop in any case
                        self._session.unlink(missing_ok=True)
                else:
                    self._asked = -STOP_TIMEOUT
            if self.signal is not None:
                self._stop_runs()

    def _stop_runs(self) -> None:
        """Send SIGTERM to each run once, since a second one stops it within its step. After the timeout, kill the rest."""
        running, waiting = self._pids(), time.monotonic() - self._asked < STOP_TIMEOUT
        for pid in running:
            if not waiting or pid not in self._stopping:
                self._stopping.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM if waiting else signal.SIGKILL)
        if not running or not waiting:
            self._giving_up = True
            _thread.interrupt_main(signal.SIGTERM)

    def _pids(self) -> list[int]:
        """The processes that train runs of this driver."""
        me = process.identity()
        with suppress(FileNotFoundError):  # the folder may have been deleted
            holders = [lock.holder(path.parent) for path in self._folder.glob(f"*/{lock.NAME}")]
            return [who["pid"] for who in holders if who and who.get("driver") == me and process.alive(who)]
        return []
