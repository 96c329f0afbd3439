"""Run directories: their names, and writing their files so that a kill at any moment leaves them readable."""

from __future__ import annotations

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
from normexp.rundir import atomic, safe_read
from normexp.rundir.formats import to_json
from normexp.rundir.status import MAX_STATUS_BYTES, now

MAX_NAME = 100
"""Characters of a directory's name: room for a path in front of it and a suffix behind it on every file system."""


def slug(overrides: Iterable[str]) -> str:
    """A directory name that shows the overrides: 'norm=bn_lr=0.1'.

    Different overrides have different names, on file systems of every kind: long ones, and those with characters that a name
    should not have, end in a hash of the whole.
    """
    texts = [override.strip() for override in overrides]
    plain = [re.sub(r"[\[\]'\"]", "", text) for text in texts]
    shown = "_".join(re.sub(r"[^A-Za-z0-9=.,+-]+", "-", text).strip("-") for text in plain)
    if len(shown) <= MAX_NAME - 20 and not any(re.search(r"[^A-Za-z0-9=.,+_-]|^-|-$|=.*_", text) for text in plain):
        return shown
    return f"{shown[: MAX_NAME - 30]}~{hashlib.sha256('_'.join(texts).encode()).hexdigest()[:8]}"


def default_name(overrides: Iterable[str]) -> str:
    """The name of a run or a sweep that was given none: date, time and overrides."""
    return "_".join([f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *filter(None, [slug(overrides)])])


def check_name(name: str) -> None:
    """ConfigError for a name that can't be, or should not be, a directory's."""
    if re.fullmatch(r"[\w=.,+~ -]+", name) and len(name) <= MAX_NAME and name.strip(". ") == name and name:
        return
    raise ConfigError(
        f"name={show(name)}: a name has letters, digits, spaces and any of = . , + ~ - _, "
        f"no slash, and at most {MAX_NAME} characters."
    )


def create(
    parent: Path, name: str, files: Mapping[str, str], *, prepare: Callable[[Path], object] = lambda directory: None
) -> Path:
    """A new directory `name` in `parent`, or `name-2`, `name-3`, ... where that exists, with its first files in it, and with what
    `prepare` does there.

    It gets its name when it is whole, so that a run that has a name can be gone on with. ConfigError where it can't be made
    in such a place, WriteError where the place can't be written to, with nothing left of it.
    """
    with _refusing(parent, parent):
        parent.mkdir(parents=True, exist_ok=True)
        new = parent / f".{name}.{os.getpid()}.tmp"
        new.mkdir()
        try:
            fill(new, files)
            prepare(new)
            for suffix in itertools.chain([""], (f"-{n}" for n in range(2, 100_000))):
                path = parent / f"{name}{suffix}"
                if os.path.lexists(path):  # a directory could take the place of an empty one
                    continue
                try:
                    return new.rename(path)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # else another process was quicker
                        raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
    raise ConfigError(f"runs_dir={show(parent)}: there are too many runs named {name}.")


def fill(directory: Path, files: Mapping[str, str]) -> Path:
    """Write a run's first files, to the disk itself, so that no power cut leaves a run that does not know its config."""
    for name, text in files.items():
        with atomic.replacing(directory / name) as temporary:
            # Half a surrogate pair stands for a byte of a path that is not UTF-8; this is how JSON escapes it.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
            atomic.to_disk(temporary)
    atomic.to_disk(directory)
    return directory


def refill(directory: Path, files: Mapping[str, str], step: int) -> Path:
    """The same for a run that goes on after a step: what it was begun with stays, and what it goes on with stands beside it."""
    earlier = {}
    with contextlib.suppress(OSError, ValueError, RecursionError):
        earlier = json.loads(safe_read.read(directory / "environment.json", most=MAX_STATUS_BYTES))
    if isinstance(earlier, dict) and earlier:
        before = earlier.get("resumed")
        now_with = {"step": step, "at": now(), **json.loads(files["environment.json"])}
        earlier["resumed"] = [*(before if isinstance(before, list) else []), now_with]
        if step == 0:  # nothing of the earlier training is left
            earlier["numerics"] = now_with["numerics"]
        files = {**files, "environment.json": to_json(earlier, indent=2) + "\n"}
    return fill(directory, files)


def make(directory: Path, write: Callable[[], object]) -> None:
    """Make a sweep's directory, which may be there already, with what `write` does there. ConfigError where it can't be made in
    such a place, WriteError where that can't be written to, with nothing left of a new one."""
    with _refusing(directory.parent, directory):
        directory.mkdir(parents=True, exist_ok=True)
        write()


@contextlib.contextmanager
def _refusing(parent: Path, made: Path) -> Iterator[None]:
    """made: the directory that the block makes, which it takes away again where it fails, as far as it was not there before."""
    existed = parent
    try:
        existed = next(p for p in [parent.absolute(), *parent.absolute().parents] if p.exists())
        yield
    except OSError as error:
        for path in (made.absolute(), *made.absolute().parents):
            if path.is_relative_to(existed) and path != existed:
                with contextlib.suppress(OSError):  # it was not made, or another process has begun to use it
                    path.rmdir()
        if error.errno in atomic.FAULTS:
            raise atomic.WriteError(error.errno, error.strerror, str(existed)) from error
        raise ConfigError(
            f"runs_dir={show(parent)}: no run directory can be made in {existed} ({error.strerror or error})."
        ) from error


def numerics(directory: Path) -> int:
    """The version of the numbers in a run directory, see normexp.NUMERICS: 1 for runs from before versions were recorded, and if
    environment.json cannot be read."""
    try:
        made_with = json.loads(safe_read.read(directory / "environment.json", most=MAX_STATUS_BYTES))
    except (OSError, ValueError, RecursionError):
        return 1
    found = made_with.get("numerics", 1) if isinstance(made_with, dict) else 1
    return found if type(found) is int else 1


MEASURED = ("metrics.jsonl", "histograms.png", "checkpoint*.pt", "events.out.tfevents.*")
"""The files of a run that tell how it went, without its log."""


def clear(directory: Path) -> None:
    """Take away what a run measured that is to be trained again. What it is stays until `fill` replaces it, so that a kill in
    between leaves a run that can be gone on with; its log stays too, and so do the files of others."""
    for pattern in MEASURED:
        for path in directory.glob(pattern):
            with atomic.writing(path):
                path.unlink(missing_ok=True)
