"""Names and creation of run directories. A kill at any moment leaves a readable directory or none."""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from normexp.config import ConfigError, show
from normexp.rundir import atomic
from normexp.rundir.formats import to_json
from normexp.rundir.reader import read_json
from normexp.rundir.status import now

MAX_NAME = 100  # characters; leaves room for the path and a suffix on every file system


def slug(overrides: Iterable[str]) -> str:
    """Make a directory name from overrides: 'norm=bn_lr=0.1'. If it is cut or characters are replaced, a hash of the overrides is
    appended, so different overrides get different names on every file system."""
    texts = [override.strip() for override in overrides]
    plain = [re.sub(r"[\[\]'\"]", "", text) for text in texts]
    shown = "_".join(re.sub(r"[^A-Za-z0-9=.,+-]+", "-", text).strip("-") for text in plain)
    if len(shown) <= MAX_NAME - 20 and not any(re.search(r"[^A-Za-z0-9=.,+_-]|^-|-$|=.*_", text) for text in plain):
        return shown
    return f"{shown[: MAX_NAME - 30]}~{hashlib.sha256('_'.join(texts).encode()).hexdigest()[:8]}"


def default_name(overrides: Iterable[str]) -> str:
    """Default name of a run or sweep: date, time and overrides."""
    return "_".join([f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *filter(None, [slug(overrides)])])


def check_name(name: str) -> None:
    """Raise ConfigError if the name can't be used for a directory."""
    if len(name) > MAX_NAME or name.strip(". ") != name or not re.fullmatch(r"[\w=.,+~ -]+", name):
        raise ConfigError(
            f"name={show(name)}: a name can contain letters, digits, spaces and = . , + ~ - _, no slash, and at most "
            f"{MAX_NAME} characters."
        )


def create_run_directory(
    parent: Path, name: str, files: Mapping[str, str], *, prepare: Callable[[Path], object] = lambda directory: None
) -> Path:
    """Create the directory `name` in `parent`, or `name-2`, `name-3`, ... if it exists.

    It gets its final name after the first files are written and `prepare` has returned, so every visible run can be resumed. On
    failure, nothing is left. Raises ConfigError if the path can't be created, WriteError if it is not writable.
    """
    with _undo_on_error(parent, parent):
        parent.mkdir(parents=True, exist_ok=True)
        new = parent / f".{name}.{os.getpid()}.tmp"
        new.mkdir()
        try:
            write_run_files(new, files)
            prepare(new)
            for suffix in itertools.chain([""], (f"-{n}" for n in range(2, 100_000))):
                path = parent / f"{name}{suffix}"
                try:
                    if not os.path.lexists(path):  # rename would replace an empty directory
                        return new.rename(path)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process was faster
                        raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
    raise ConfigError(f"runs_dir={show(parent)}: too many runs are named {name}.")


def write_run_files(directory: Path, files: Mapping[str, str]) -> Path:
    """Write a run's first files with fsync, so that a power cut can't leave a run without its config."""
    for name, text in files.items():
        with atomic.replacing(directory / name) as temporary:
            # Bytes of a path that are not UTF-8 are lone surrogates in Python; this escapes them as JSON does.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
            atomic.fsync(temporary)
    atomic.fsync(directory)
    return directory


def write_resumed_files(directory: Path, files: Mapping[str, str], step: int) -> Path:
    """`write_run_files` for a run that resumes after a step: its environment is appended to the existing environment.json."""
    earlier = read_json(directory / "environment.json")
    if earlier:
        before = earlier.get("resumed")
        resumed = {"step": step, "at": now(), **json.loads(files["environment.json"])}
        earlier["resumed"] = [*(before if isinstance(before, list) else []), resumed]
        if step == 0:  # trained from scratch
            earlier["numerics"] = resumed["numerics"]
        files = {**files, "environment.json": to_json(earlier, indent=2) + "\n"}
    return write_run_files(directory, files)


def create_sweep_directory(directory: Path, write: Callable[[], object]) -> None:
    """Create a sweep's directory, if it does not exist, and call `write`. On failure, a new directory is removed. Raises
    ConfigError if the path can't be created, WriteError if it is not writable."""
    with _undo_on_error(directory.parent, directory):
        directory.mkdir(parents=True, exist_ok=True)
        write()


@contextlib.contextmanager
def _undo_on_error(parent: Path, created: Path) -> Iterator[None]:
    """Convert OSErrors in the block, after removing the directory and the parents that it created, unless they are in use."""
    existed = parent
    try:
        existed = next(p for p in [parent.absolute(), *parent.absolute().parents] if p.exists())
        yield
    except OSError as error:
        for path in (created.absolute(), *created.absolute().parents):
            if path.is_relative_to(existed) and path != existed:
                with contextlib.suppress(OSError):  # missing, or already used by another process
                    path.rmdir()
        if error.errno in atomic.UNWRITABLE_ERRNOS:
            raise atomic.WriteError(error.errno, error.strerror, str(existed)) from error
        raise ConfigError(
            f"runs_dir={show(parent)}: no run directory can be created in {existed} ({error.strerror or error})."
        ) from error


def remove_outputs(directory: Path) -> None:
    """Remove the outputs of a run that is trained from scratch. The log and files of unknown origin are kept, and so is the
    config, which `write_run_files` replaces: after a kill in between, the run can still be resumed."""
    names = ("metrics.jsonl", "evaluations.jsonl", "histograms.png", "tracker.json")
    for pattern in (*names, "checkpoint*.pt", "events.out.tfevents.*"):
        for path in directory.glob(pattern):
            with atomic.writing(path):
                path.unlink(missing_ok=True)
