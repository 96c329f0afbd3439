"""Writing that fails: the n-th operation below a directory that changes what is on the disk raises OSError."""

import builtins
import contextlib
import errno
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)

BLOCK = 4096
"""Bytes in which a disk gives room to a file."""


@dataclass
class Faults:
    """at: which operation fails, counted from 1. lasting: whether all behind it fail too. A disk that stays full fails those
    alone that need room: what is written over or taken away needs none.

    done: the operations so far, as 'write metrics.jsonl'. failed: those that did not succeed. first: the number of
    the first of them."""

    directory: Path
    at: int
    number: int
    lasting: bool
    done: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    first: int | None = None

    def check(self, name, path, *, grows=True, named=False):
        """named: whether the system's error would tell the path, as of operations that get one."""
        path = Path(os.fsdecode(path)).absolute()
        if not path.is_relative_to(self.directory):
            return
        self.done.append(f"{name} {path.name}")
        if self.lasting and self.number in FULL and not grows:
            return
        if len(self.done) == self.at or (self.lasting and len(self.done) > self.at):
            self.failed.append(self.done[-1])
            self.first = self.first or len(self.done)
            raise OSError(self.number, os.strerror(self.number), *([str(path)] if named else []))


@contextlib.contextmanager
def failing(directory, at, *, number=errno.ENOSPC, lasting=False):
    """Have writing fail within the block, which gets what was done and what failed."""
    faults = Faults(Path(directory).absolute(), at, number, lasting)
    real = {name: getattr(os, name) for name in dir(os)}

    class File(io.FileIO):
        """What the buffers that Python's open() makes write to."""

        def write(self, data):
            faults.check(
                "write", path_of(self.fileno()), grows=self.tell() + memoryview(data).nbytes > room(self.fileno())
            )
            return super().write(data)

        def truncate(self, length=None):
            faults.check("truncate", path_of(self.fileno()), grows=(length or 0) > room(self.fileno()))
            return super().truncate(length)

        def close(self):
            path = None if self.closed else path_of(self.fileno())
            super().close()
            if path:  # where some network file systems tell that a disk is full
                faults.check("close", path, grows=False)

    def room(descriptor):
        return -(-os.fstat(descriptor).st_size // BLOCK) * BLOCK

    def path_of(descriptor):
        return real["readlink"](f"/proc/self/fd/{descriptor}")

    def within(path):
        return isinstance(path, str | bytes | os.PathLike) and Path(os.fsdecode(path)).absolute().is_relative_to(
            faults.directory
        )

    def open_file(  # noqa: PLR0917 - as Python's own
        path, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **more
    ):
        if not (set(mode) & set("wax+") and within(path)):
            return real_open(path, mode, buffering, encoding, errors, newline, **more)
        faults.check("open", path, grows=not os.path.lexists(path), named=True)
        raw = File(os.fspath(path), mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    def open_descriptor(path, flags, *args, **more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            faults.check("open", path, grows=not os.path.lexists(path), named=True)
        return real["open"](path, flags, *args, **more)

    def on_path(name, *, grows):
        def operation(path, *args, dir_fd=None, **more):
            faults.check(name, path if dir_fd is None else Path(path_of(dir_fd), path), grows=grows, named=True)
            return real[name](path, *args, **more) if dir_fd is None else real[name](path, *args, dir_fd=dir_fd, **more)

        return operation

    def pwrite(descriptor, data, offset):
        faults.check("write", path_of(descriptor), grows=offset + len(data) > room(descriptor))
        return real["pwrite"](descriptor, data, offset)

    def posix_fallocate(descriptor, offset, length):
        faults.check("write", path_of(descriptor), grows=offset + length > room(descriptor))
        return real["posix_fallocate"](descriptor, offset, length)

    def ftruncate(descriptor, length):
        faults.check("truncate", path_of(descriptor), grows=length > room(descriptor))
        return real["ftruncate"](descriptor, length)

    def truncate(path, length):
        faults.check("truncate", path, grows=length > Path(path).stat().st_size, named=True)
        return real["truncate"](path, length)

    def fsync(descriptor):
        faults.check("fsync", path_of(descriptor), grows=False)  # and that is all: it would take milliseconds

    replaced = {"open": open_descriptor, "pwrite": pwrite, "posix_fallocate": posix_fallocate, "ftruncate": ftruncate}
    replaced |= {"truncate": truncate}
    replaced |= {"fsync": fsync, "mkdir": on_path("mkdir", grows=True)}
    replaced |= {name: on_path(name, grows=False) for name in ("replace", "rename", "unlink", "remove", "rmdir")}
    real_open = io.open
    with contextlib.ExitStack() as stack:
        for module, name, function in [
            *((os, name, function) for name, function in replaced.items()),
            (io, "open", open_file),
            (builtins, "open", open_file),
        ]:
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, function)
        yield faults
