"""What a sweep's driver does beside waiting: show how far the runs are, and let Ctrl-C end them in good order."""

from __future__ import annotations

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
from normexp.sweeps.progress import View

SIGNALS = {signal.SIGINT, signal.SIGTERM}

PATIENCE = 15.0
"""Seconds that runs have, after Ctrl-C, to finish their step and write their files."""

POLL = 0.25
"""Seconds between two checks for signals."""


class Watch:
    """Two threads beside the launcher: one acts on signals, one shows progress. Whatever becomes of the display, an error or a
    terminal that takes no more output, signals stop the sweep. signal: the one that asked for the end, if any.

    The first signal takes the session's file away, so that no further run starts, and asks those at work to stop after their
    step; when they have, or at a second signal, the launcher is interrupted. The main thread blocks the signals, and so does
    all that it starts: Ctrl-C on a terminal reaches every process, and would end each in its own way. A signal then comes to a
    thread that does not block it, and so to the handler, or stays pending.
    """

    def __init__(self, view: View, folder: Path, session: Path) -> None:
        self._view, self._folder, self._session = view, folder, session
        self._over = threading.Event()
        self._heard: list[int] = []
        self._stopping: set[int] = set()
        self._give_up = False
        self.signal: int | None = None
        self._asked = 0.0

    @contextmanager
    def beside(self, *, local: bool) -> Iterator[None]:
        """Watch while the block runs. local: whether the runs are this process's own, and end with it."""
        mine = local and threading.current_thread() is threading.main_thread()
        display = threading.Thread(target=self._show, daemon=True)
        signals = threading.Thread(target=self._act_on_signals, daemon=True)
        try:
            with self._signals_taken() if mine else nullcontext():
                for thread in (display, signals):
                    thread.start()
                try:
                    yield
                finally:
                    self._over.set()
                    signals.join()
        finally:  # here Ctrl-C works as ever, in case the display hangs
            display.join()

    @contextmanager
    def _signals_taken(self) -> Iterator[None]:
        for tracker in (multiprocessing.resource_tracker, loky.resource_tracker):
            tracker.ensure_running()  # when it starts, it unblocks signals
        handlers = {number: signal.signal(number, self._hear) for number in SIGNALS}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._give_up:
            raise KeyboardInterrupt
        self._heard.append(number)

    def _show(self) -> None:
        said = over = False
        with self._view.shown():
            while not over:
                over = self._over.wait(self._view.pause)
                if self.signal is not None and not said:
                    self._view.say("stopping after the step of the runs at work; Ctrl-C again: at once")
                    said = True
                self._view.tick()

    def _act_on_signals(self) -> None:
        while not self._over.wait(POLL):
            self._take_signals()

    def _take_signals(self) -> None:
        pending = SIGNALS & signal.sigpending()
        self._heard += [signal.sigwait({number}) for number in pending]
        while self._heard:
            number = self._heard.pop(0)
            if self.signal is None:
                self.signal, self._asked = number, time.monotonic()
                with suppress(OSError):  # the runs are asked to stop all the same
                    self._session.unlink(missing_ok=True)
            else:
                self._asked = -PATIENCE
        if self.signal is not None:
            self._stop_runs()

    def _stop_runs(self) -> None:
        """Ask each run once, since a second signal stops it within its step; end what is left when the time is over."""
        at_work, patient = self._pids(), time.monotonic() - self._asked < PATIENCE
        for pid in at_work:
            if not patient or pid not in self._stopping:
                self._stopping.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM if patient else signal.SIGKILL)
        if not at_work or not patient:
            self._give_up = True
            _thread.interrupt_main(signal.SIGTERM)

    def _pids(self) -> list[int]:
        """The processes that train for this driver."""
        me = process.identity()
        with suppress(FileNotFoundError):  # the folder may be deleted at this moment
            found = [lock.holder(path.parent) for path in self._folder.glob(f"*/{lock.NAME}")]
            return [who["pid"] for who in found if who and who.get("driver") == me and process.alive(who)]
        return []
