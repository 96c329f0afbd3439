"""Run a normexp command in a process that is killed at a chosen moment or file operation, for scripts/torture.py.

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

# Some imports are only for the fork server: they are slow, and all processes share them.
import hydra.core.override_parser.overrides_parser  # noqa: F401
import sklearn.datasets  # noqa: F401

import normexp.commands.train  # noqa: F401
from normexp.cli import main
from normexp.training import checkpoint

TIMEOUT = 60.0
"""Seconds after which a process counts as hung."""

FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["fault_process", "same_runs", "rich.progress", "rich.table"])
CHILDREN_LOCK = threading.Lock()  # multiprocessing polls all children when it starts one, which is not thread-safe


@dataclass(frozen=True)
class Fault:
    """Signals for a process, sent after some seconds or when it stops at the file operation with this number.

    saving: count only the file operations of writing checkpoints.
    """

    signals: tuple[int, ...] = ()
    seconds: float = TIMEOUT
    operation: int | None = None
    saving: bool = False


def run_with_fault(directory: Path, words: list[str], fault: Fault) -> tuple[int | None, float]:
    """Run a command in a process with a fault.

    Returns its exit code (minus the signal that ended it, or None if it hangs), and the seconds from the last signal, or
    without one from the start, to its end.
    """
    for mark in directory.glob("mark.*"):
        mark.unlink()
    child = FORK_SERVER.Process(target=run_command, args=(words, directory, fault.operation, fault.saving), daemon=True)
    with CHILDREN_LOCK:
        child.start()
    start, signals = time.monotonic(), list(fault.signals)
    due = start + fault.seconds
    while (code := _code(child)) is None and time.monotonic() < start + TIMEOUT:
        if signals and (time.monotonic() > due or (directory / "mark.stopped").exists()):
            with suppress(ProcessLookupError):
                assert child.pid is not None
                os.kill(child.pid, signals.pop(0))
            start, due = time.monotonic(), time.monotonic() + 0.01
        time.sleep(0.002)
    if code is None:
        child.kill()
    return code, time.monotonic() - start


def _code(child: multiprocessing.process.BaseProcess) -> int | None:
    with CHILDREN_LOCK:
        return child.exitcode


class FileOperations:
    """Counts the file operations of this process, and stops at one of them to be killed there.

    directory: for marks that tell the parent that it has stopped, and that a checkpoint is being written. stop_at: the number
    of the operation, or None. saving: count only the operations of writing checkpoints.
    """

    def __init__(self, directory: Path, stop_at: int | None, *, saving: bool) -> None:
        self._directory, self._stop_at, self._only_saving = directory, stop_at, saving
        self._counted = "saving" if saving else "all"
        self._saving = False
        self.counts = {"all": 0, "saving": 0}

    def count(self) -> None:
        """Count an operation that is about to happen, and stop if it is the chosen one."""
        self.counts["all"] += 1
        self.counts["saving"] += self._saving
        if (self._saving or not self._only_saving) and self._stop_at == self.counts[self._counted]:
            self._mark("stopped")
            time.sleep(TIMEOUT)

    def patch_saving(self) -> None:
        real = checkpoint.save

        @functools.wraps(real)
        def save(*args: Any, **kwargs: Any) -> None:
            self._mark("saving")
            self._saving = True
            try:
                real(*args, **kwargs)
            finally:
                self._saving = False
                os.unlink(self._directory / "mark.saving")  # noqa: PTH108 - Path.unlink is counted

        checkpoint.save = save

    def patch_files(self) -> None:
        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(real)
            def operation(*args: Any, **kwargs: Any) -> Any:
                self.count()
                return real(*args, **kwargs)

            return operation

        real_open = Path.open

        def counted_open(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if mode not in ("wb", "xb", "ab"):
                return real_open(path, mode, *args, **kwargs)
            self.count()
            return TwoStepWriter(io.FileIO(path, mode[0]), self)

        os.fsync = counted(os.fsync)
        Path.open = counted_open  # type: ignore[method-assign, assignment]
        for name in ("mkdir", "rename", "replace", "unlink"):
            setattr(Path, name, counted(getattr(Path, name)))

    def _mark(self, name: str) -> None:
        (self._directory / f"mark.{name}").touch()


class TwoStepWriter(io.BufferedWriter):
    """Writes data in two halves. A kill between them leaves a truncated file."""

    def __init__(self, raw: io.FileIO, operations: FileOperations) -> None:
        super().__init__(raw)
        self._operations = operations

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        written = super().write(view[: len(view) // 2])
        self.flush()
        self._operations.count()
        return written + super().write(view[len(view) // 2 :])


def run_command(words: list[str], directory: Path, stop_at: int | None, saving: bool) -> None:
    """Run a normexp command in the directory, with its output in the file `log`, and exit."""
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(directory)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    operations = FileOperations(directory, stop_at, saving=saving)
    operations.patch_saving()
    if stop_at is not None or words[0] == "train":
        operations.patch_files()
    code = main(words)
    (directory / "mark.counts").write_text(json.dumps(operations.counts))
    sys.exit(code)
