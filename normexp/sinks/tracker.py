"""`tracker=mlflow|wandb|trackio`: sends a run's records to a tracker."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from normexp.console import print_message
from normexp.records import Record
from normexp.rundir import json_line
from normexp.sinks.jsonl import entry

CLOSE_SECONDS, STOP_SECONDS = 30.0, 5.0
"""Limits on the wait for the tracker at the end of a run: of a run that ends by itself, and after Ctrl-C or SIGTERM. A sweep
kills what has not stopped after 15 s."""

MAX_WAITING_BYTES = 64_000_000
"""Records that may wait for a tracker that has stopped reading: hours of a usual run."""

logger = logging.getLogger("normexp")


class Tracker:
    """Passes records to a process (`trackers.process`) in which the tracker's library runs.

    Libraries print, install signal handlers, start threads, and hang or fail when a server is unreachable. In another process
    none of this reaches the training. Writes to it never block: what the socket can't take waits in memory. The first failure is
    printed and logged; after it, nothing more is sent.
    """

    def __init__(
        self, directory: Path, name: str, console: Console, *, logged_bytes: int, stopping: Callable[[], bool]
    ) -> None:
        """logged_bytes: size of metrics.jsonl where a resumed run continues; the process sends what the tracker lacks of it.
        stopping: whether the run was asked to stop."""
        self._name, self._console, self._stopping = name, console, stopping
        self._waiting = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket, child = socket.socketpair()  # unlike a pipe, it can be written to without the risk of SIGPIPE
        self._socket.setblocking(False)
        words = ["-P", "-m", "normexp.sinks.trackers.process", str(directory), name, str(logged_bytes)]
        try:
            with child, (directory / "train.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, *words],
                    stdin=child.fileno(),
                    stdout=subprocess.PIPE,  # for the reason of a failure
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                    start_new_session=True,  # Ctrl-C must not reach it
                )
                assert self._process.stdout is not None
                os.set_blocking(self._process.stdout.fileno(), False)
        except OSError as error:
            self._socket.close()
            self._say(f"its process could not be started ({error.strerror})")

    def log(self, record: Record) -> None:
        histograms = {tag: [h.edges, h.counts] for tag, h in record.histograms.items()}
        self._send({**entry(record), "histograms": histograms})

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process is None:
            return
        self._waiting += json_line(message)
        self._flush()
        if self._process.poll() is not None:
            self._give_up(self._process)
        elif len(self._waiting) > MAX_WAITING_BYTES:
            self._give_up(self._process, "it has stopped reading")

    def _flush(self) -> None:
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._waiting:
                del self._waiting[: self._socket.send(self._waiting[:65536], getattr(socket, "MSG_NOSIGNAL", 0))]

    def close(self, *, success: bool) -> None:
        """Wait until the process has finished, with a limit."""
        self._send({"success": success})
        process, start = self._process, time.monotonic()
        if process is None:
            return
        limit = CLOSE_SECONDS
        with self._console.status(f"finishing tracker={self._name}"):
            while process.poll() is None and time.monotonic() - start < limit:
                limit = STOP_SECONDS if self._stopping() else CLOSE_SECONDS
                if self._waiting:
                    self._flush()
                else:
                    self._socket.close()
                time.sleep(0.02)
        if process.returncode is None:
            self._give_up(process, f"it did not finish within {limit:.0f} s")
        elif process.returncode != 0:
            self._give_up(process)
        else:
            self._end(process)

    def _give_up(self, process: subprocess.Popen[bytes], reason: str | None = None) -> None:
        """Send nothing more, and say why. reason: by default, what the process reported before it ended."""
        if reason is None:
            reason = f"its process ended with exit code {process.returncode}"
            assert process.stdout is not None
            with suppress(BlockingIOError):
                reason = os.read(process.stdout.fileno(), 1000).decode(errors="replace").strip() or reason
            reason += "; train.log has the details"
        self._end(process)
        self._say(reason)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)  # helpers of the library, too
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        assert process.stdout is not None
        process.stdout.close()
        self._socket.close()
        self._process = None
        self._waiting.clear()

    def _say(self, reason: str) -> None:
        message = f"tracker={self._name} failed: {reason}. The run and its own files are not affected."
        logger.warning(message)
        print_message(self._console, f"note: {message}")

    def state_dict(self) -> dict[str, Any]:
        """Empty: tracker.json in the run directory has what a resumed run needs."""
        return {}
