"""For scripts/torture.py: one command of normexp, in a process that is there to be killed.

A fork server imports this module once, so that a command starts in tenths of a second.
"""

import functools
import io
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Much of it is there because it takes long to import: once is enough for all processes.
import hydra.core.override_parser.overrides_parser  # noqa: F401
import sklearn.datasets  # noqa: F401

import normexp.commands.train  # noqa: F401
from normexp.cli import main
from normexp.training import checkpoint

HANG = 60.0
"""Seconds after which a process is given up."""

FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["torture_victim", "same_runs", "rich.progress", "rich.table"])
STARTING = threading.Lock()  # multiprocessing looks at all children when it starts one, which two threads must not do


@dataclass(frozen=True)
class Blow:
    """What a process gets: signals, after some seconds or where it stands still in a file operation with this number."""

    signals: tuple[int, ...] = ()
    seconds: float = HANG
    operation: int | None = None
    saving: bool = False


def strike(place: Path, words: list[str], blow: Blow) -> tuple[int | None, float]:
    """Run the command in a process and give it the blow. Returns its exit code, or minus the signal that ended it, None where it
    hangs; and the seconds from the blow to its end, or from its beginning without one."""
    for mark in place.glob("mark.*"):
        mark.unlink()
    child = FORK_SERVER.Process(target=live, args=(words, place, blow.operation, blow.saving), daemon=True)
    with STARTING:
        child.start()
    began, left = time.monotonic(), list(blow.signals)
    due = began + blow.seconds
    while (code := _code(child)) is None and time.monotonic() < began + HANG:
        if left and (time.monotonic() > due or (place / "mark.stands").exists()):
            with suppress(ProcessLookupError):
                assert child.pid is not None
                os.kill(child.pid, left.pop(0))
            began, due = time.monotonic(), time.monotonic() + 0.01
        time.sleep(0.002)
    if code is None:
        child.kill()
    return code, time.monotonic() - began


def _code(child: multiprocessing.process.BaseProcess) -> int | None:
    with STARTING:
        return child.exitcode


class Files:
    """Counts what the process does to its files, and stands still in one of these operations, to be killed there.

    place: where its marks say so, and whether a checkpoint is being written. at: the operation's number; None: never. saving:
    whether to count only those of writing a checkpoint.
    """

    def __init__(self, place: Path, at: int | None, *, saving: bool) -> None:
        self._place, self._at, self._only_saving = place, at, saving
        self._counted = "saving" if saving else "all"
        self._saving = False
        self.counts = {"all": 0, "saving": 0}

    def operation(self) -> None:
        self.counts["all"] += 1
        self.counts["saving"] += self._saving
        if (self._saving or not self._only_saving) and self._at == self.counts[self._counted]:
            self._mark("stands")
            time.sleep(HANG)

    def watch_saving(self) -> None:
        real = checkpoint.save

        @functools.wraps(real)
        def save(*args: Any, **kwargs: Any) -> None:
            self._mark("saving")
            self._saving = True
            try:
                real(*args, **kwargs)
            finally:
                self._saving = False
                os.unlink(self._place / "mark.saving")  # noqa: PTH108 - Path's own is watched

        checkpoint.save = save

    def watch_all(self) -> None:
        def before(real: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(real)
            def operation(*args: Any, **kwargs: Any) -> Any:
                self.operation()
                return real(*args, **kwargs)

            return operation

        real_open = Path.open

        def watched_open(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if mode not in ("wb", "xb", "ab"):
                return real_open(path, mode, *args, **kwargs)
            self.operation()
            return Halves(io.FileIO(path, mode[0]), self)

        os.fsync = before(os.fsync)
        Path.open = watched_open  # type: ignore[method-assign, assignment]
        for name in ("mkdir", "rename", "replace", "unlink"):
            setattr(Path, name, before(getattr(Path, name)))

    def _mark(self, name: str) -> None:
        (self._place / f"mark.{name}").touch()


class Halves(io.BufferedWriter):
    """A file that is written in two halves: a kill between them leaves a torn one."""

    def __init__(self, raw: io.FileIO, files: Files) -> None:
        super().__init__(raw)
        self._files = files

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = super().write(view[: len(view) // 2])
        self.flush()
        self._files.operation()
        return done + super().write(view[len(view) // 2 :])


def live(words: list[str], place: Path, at: int | None, saving: bool) -> None:
    """Give normexp's command line the words, with `place` as the working directory and a log in it, and end the process."""
    log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(place)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server may have been told to ignore it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    files = Files(place, at, saving=saving)
    files.watch_saving()
    if at is not None or words[0] == "train":
        files.watch_all()
    code = main(words)
    (place / "mark.counts").write_text(json.dumps(files.counts))
    sys.exit(code)
