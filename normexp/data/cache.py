"""Cache of decoded data sets. Reading it is several times as fast as decoding the files again.

A cache is two files in a hidden folder next to the data, or in the user's cache folder if that can't be written to: NAME.bin
holds the arrays' values one after the other, NAME.json a record of what they were decoded from. Each is written under a
temporary name and renamed. A record that does not match its arrays, as a kill between the two renames leaves it, counts as
missing, and so does any other damage: the data is decoded again, and the cache replaced if possible. All content is compared
with checksums on every load, so writing doesn't wait for the disk: losses in a power cut are noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import mmap
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.config import ConfigError
from normexp.data.base import Arrays, value_counts
from normexp.rundir import atomic, lock, safe_read

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
"""Increase it to invalidate existing caches."""

SCALE = 255
"""The cache stores bytes: pixel values 0 to 255."""

MAX_RECORD_BYTES, MAX_SOURCE_BYTES = 100_000, 200_000_000
"""Larger files are not read: somebody else may have written them."""

SETTLED = 2.0
"""Seconds after a file's last change from which a further change must show in its times, which some file systems round."""

LOCK_TIMEOUT = 60.0
"""Seconds to wait for another process that decodes the same data."""


@dataclass(frozen=True, kw_only=True)
class CacheSpec:
    """Expected content of a cache: images of these shapes (N, C, H, W) and labels below `classes`.

    verified: whether the sources must have been compared with the published checksums.
    """

    name: str
    train: tuple[int, int, int, int]
    test: tuple[int, int, int, int]
    classes: int
    verified: bool


@dataclass(frozen=True)
class _Sources:
    """Files as they are now. stats: size, mtime and ctime of each, in ns. settled: whether these would show a change."""

    paths: Sequence[Path]
    stats: list[list[int]]
    settled: bool


class Reader:
    """Reads source files, and keeps the CRC-32C of each in `checksums`."""

    def __init__(self) -> None:
        self.checksums: dict[Path, int] = {}

    def __call__(self, path: Path, *, max_bytes: int) -> bytearray:
        """The content of a file of at most `max_bytes` bytes. Raises ConfigError if it can't be read."""
        try:
            content = safe_read.read(path, max_bytes=max_bytes)
        except OSError as error:
            raise ConfigError(f"{path} can't be read ({error.strerror}).") from error
        self.checksums[path] = checksum(content)
        return content


def is_published(content: bytearray, md5: str) -> bool:
    """Whether a file's content has the published checksum."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == md5


def checksum(content: bytearray | NDArray[Any], crc: int = 0) -> int:
    """CRC-32C of bytes or of an array's values. crc: of the preceding content."""
    import google_crc32c
    import numpy as np

    values = np.ascontiguousarray(content) if isinstance(content, np.ndarray) else np.frombuffer(content, np.uint8)
    crc = google_crc32c.extend(crc, values)
    return crc


def cached(spec: CacheSpec, folder: Path, sources: Sequence[Path], decode: Callable[[Reader], Arrays]) -> Arrays:
    """The data set's arrays: from the cache if it was made from the sources as they are now, else from `decode`.

    `decode` gets a reader for the sources and may raise ConfigError. Images from the cache are read-only memory maps. Of several
    processes without a cache, one decodes and the others wait.
    """
    places = cache_folders(folder)
    if (arrays := _find(places, sources, spec)) is not None:
        return arrays
    with _locked(sources[0].parent) as locked:
        if (arrays := _find(places, sources, spec)) is not None:  # written by another process in the meantime
            return arrays
        reader = Reader()
        before = _stat(sources)
        decoded = decode(reader)
        if before is not None:
            checksums = [reader.checksums[path] for path in sources]
            if any(_store(place, before, checksums, decoded, spec, tidy=locked) for place in places):
                arrays = _find(places, sources, spec)  # a memory map needs no memory of its own
    return decoded if arrays is None else arrays


def release(array: NDArray[Any]) -> None:
    """Free the pages of a memory map; they are read again when needed. Does nothing for other arrays."""
    import numpy as np

    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    owner = base.obj if isinstance(base, memoryview) else base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def cache_folders(folder: Path) -> list[Path]:
    """Possible locations of the cache, in order of preference."""
    folders = [folder / ".normexp"]
    with contextlib.suppress(OSError, RuntimeError):  # a user without a home
        home = Path(os.environ.get("XDG_CACHE_HOME", ""))
        home = home if home.is_absolute() else Path.home() / ".cache"
        key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
        folders.append(home / "normexp" / "data" / key)
    return folders


def check_writable(place: Path) -> None:
    """Raise PermissionError if a folder's permissions forbid writing, which would not stop root."""
    nearest = next(path for path in (place, *place.absolute().parents) if path.exists())
    if not nearest.stat().st_mode & 0o222 or not os.access(nearest, os.W_OK):
        raise PermissionError(nearest)


def check_owner(place: Path, source: Path, *, files: Iterable[str] = ()) -> None:
    """Raise PermissionError if the folder, or one of these files in it, may come from somebody who could not have written the
    sources: it belongs to another user, everybody may write to it, or it is a link. Raise FileNotFoundError if it is missing."""
    owners = (os.geteuid(), 0, source.stat().st_uid)
    for path, is_kind in ((place, stat.S_ISDIR), *((place / name, stat.S_ISREG) for name in files)):
        info = path.lstat()
        if not is_kind(info.st_mode) or info.st_mode & stat.S_IWOTH or info.st_uid not in owners:
            raise PermissionError(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock the sources' folder, so that no file is written for it. Yields whether the lock was acquired: without it, two
    processes may do the same work."""
    with contextlib.ExitStack() as stack:
        acquired = False
        with contextlib.suppress(OSError):
            acquired = stack.enter_context(lock.waiting(folder, timeout=LOCK_TIMEOUT))
        yield acquired


def _stat(sources: Sequence[Path]) -> _Sources | None:
    """None if a file can't be examined; reading it will report why."""
    try:
        stats = [path.stat() for path in sources]
    except OSError:
        return None
    now = time.time_ns()
    settled = all(now - s.st_ctime_ns >= SETTLED * 1e9 for s in stats)
    return _Sources(sources, [[s.st_size, s.st_mtime_ns, s.st_ctime_ns] for s in stats], settled)


def _find(places: Sequence[Path], sources: Sequence[Path], spec: CacheSpec) -> Arrays | None:
    now = _stat(sources)
    if now is None:
        return None
    for place in places:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if (arrays := _load(place, now, spec)) is not None:
                return arrays
    return None


def _load(place: Path, now: _Sources, spec: CacheSpec) -> Arrays | None:
    """The cache in a folder, or None. Most damage raises OSError, ValueError or RecursionError."""
    check_owner(place, now.paths[0], files=(f"{spec.name}.json", f"{spec.name}.bin"))
    record = json.loads(safe_read.read(place / f"{spec.name}.json", max_bytes=MAX_RECORD_BYTES))
    if not isinstance(record, dict) or any(record.get(key) != value for key, value in _identity(now, spec).items()):
        return None
    if spec.verified and record.get("verified") is not True:
        return None
    unchanged = record.get("settled") is True and record.get("stats") == now.stats
    if not unchanged:
        checksums = [checksum(safe_read.read(path, max_bytes=MAX_SOURCE_BYTES)) for path in now.paths]
        if record.get("checksums") != checksums:
            return None
    arrays = _open(place / f"{spec.name}.bin", spec, record.get("crc32c"))
    if arrays is not None and not unchanged:
        updated = {**record, "stats": now.stats, "settled": now.settled}
        if updated != record:
            with contextlib.suppress(OSError):
                check_writable(place)
                _write(place / f"{spec.name}.json", json.dumps(updated).encode())
    return arrays


def _identity(sources: _Sources, spec: CacheSpec) -> dict[str, Any]:
    """The part of a record that must equal that of a record written now."""
    return {"format": FORMAT, "sources": [path.name for path in sources.paths], "shapes": [[*spec.train], [*spec.test]]}


def _open(path: Path, spec: CacheSpec, crc32c: Any) -> Arrays | None:
    """The arrays in a file; None if it does not match its record.

    The file is read for its checksum before it is mapped: a disk error raises OSError there, but is a signal in a map.
    """
    import numpy as np

    channels = spec.train[1]
    sizes = [channels * (SCALE + 1) * 8, math.prod(spec.train), math.prod(spec.test), spec.train[0], spec.test[0]]
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_size != sum(sizes) or _checksum_of_file(descriptor) != crc32c:
            return None
        values = np.frombuffer(mmap.mmap(descriptor, sum(sizes), access=mmap.ACCESS_READ), dtype=np.uint8)
    finally:
        os.close(descriptor)
    counts, train, test, train_labels, test_labels = np.split(values, np.cumsum(sizes[:-1]))
    if max(train_labels.max(), test_labels.max()) >= spec.classes:
        return None
    return Arrays(
        train.reshape(spec.train),
        train_labels.astype(np.int64),
        test.reshape(spec.test),
        test_labels.astype(np.int64),
        scale=SCALE,
        counts=counts.view("<i8").reshape(channels, -1).astype(np.int64),
    )


def _checksum_of_file(descriptor: int) -> int:
    """CRC-32C of an open file, read in chunks that stay in the CPU's cache."""
    import numpy as np

    chunk, offset, crc = np.empty(2**18, dtype=np.uint8), 0, 0
    while count := os.preadv(descriptor, [chunk.data], offset):
        crc, offset = checksum(chunk[:count], crc), offset + count
    return crc


def _store(
    place: Path, sources: _Sources, checksums: list[int], arrays: Arrays, spec: CacheSpec, *, tidy: bool
) -> bool:
    """Write a cache; returns whether that was possible. tidy: remove leftovers of killed processes, as no other is writing."""
    import numpy as np

    assert arrays.scale == SCALE
    assert (arrays.train_images.shape, arrays.test_images.shape) == (spec.train, spec.test)
    new = True
    try:
        new = not place.is_dir()
        check_writable(place)
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        check_owner(place, sources.paths[0])
        if tidy:
            for leftover in place.glob(f".{spec.name}.*.tmp"):
                with contextlib.suppress(OSError):
                    leftover.unlink()
        parts = [
            value_counts(arrays.train_images, SCALE).astype("<i8"),
            *(np.ascontiguousarray(images) for images in (arrays.train_images, arrays.test_images)),
            *(labels.astype(np.uint8) for labels in (arrays.train_labels, arrays.test_labels)),
        ]
        crc = 0
        for part in parts:
            crc = checksum(part, crc)
        record = {
            **_identity(sources, spec),
            "verified": spec.verified,
            "stats": sources.stats,
            "settled": sources.settled,
            "checksums": checksums,
            "crc32c": crc,
        }
        _write(place / f"{spec.name}.bin", *(part.data for part in parts))
        try:
            _write(place / f"{spec.name}.json", json.dumps(record).encode())
        except OSError:
            (place / f"{spec.name}.bin").unlink()  # useless without its record
            raise
    except OSError:
        if new:
            with contextlib.suppress(OSError):
                place.rmdir()
        return False
    return True


def _write(path: Path, *parts: bytes | memoryview) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()  # in case a folder has this name
    # 0o644: with a umask that lets everybody write, `check_owner` would refuse the file.
    with atomic.replacing(path) as temporary, open(temporary, "xb", opener=partial(os.open, mode=0o644)) as file:
        for part in parts:
            file.write(part)
