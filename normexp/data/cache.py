"""Cache of decoded data sets. Reading it is several times as fast as decoding the files again.

A cache is two files in a hidden folder next to the data, or in the user's cache folder if that can't be written to: NAME.bin
holds the arrays' values one after the other, NAME.json a record of what they were decoded from. Each is written under a
temporary name and renamed. If anything is damaged, or the record does not match the arrays, as after a kill between the two
renames, the data is decoded again and the cache replaced if possible. All content is compared with checksums on every load, so
writing doesn't wait for the disk: losses in a power cut are noticed.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.config import ConfigError
from normexp.data.base import Arrays, value_counts
from normexp.rundir import atomic, lock, safe_read

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1  # increase it to invalidate existing caches
SCALE = 255  # arrays are stored as bytes: pixel values 0 to 255
MAX_RECORD_BYTES, MAX_SOURCE_BYTES = 100_000, 200_000_000  # larger files are not read: others may have written them
LOCK_TIMEOUT = 60.0  # seconds to wait for another process that decodes the same data
SETTLED = 2.0  # seconds from which a further change of a file must show in its times, which some file systems round

Reader = Callable[..., bytearray]
"""reader(path, max_bytes=...): the content of a source file. Raises ConfigError if it is larger or can't be read."""


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


def checksum(content: bytearray | NDArray[Any], crc: int = 0) -> int:
    """CRC-32C of bytes or of an array's values. crc: of the preceding content."""
    import google_crc32c
    import numpy as np

    return int(google_crc32c.extend(crc, np.ascontiguousarray(content)))


def cached(spec: CacheSpec, folder: Path, sources: Sequence[Path], decode: Callable[[Reader], Arrays]) -> Arrays:
    """The data set's arrays: from the cache if it was made from the sources as they are now, else from `decode`.

    `decode` gets a reader for the sources and may raise ConfigError. Images from the cache are read-only memory maps. Of several
    processes without a cache, one decodes and the others wait.
    """
    checksums: dict[Path, int] = {}

    def read(path: Path, *, max_bytes: int) -> bytearray:
        try:
            content = safe_read.read(path, max_bytes=max_bytes)
        except OSError as error:
            raise ConfigError(f"{path} can't be read ({error.strerror}).") from error
        checksums[path] = checksum(content)
        return content

    places = cache_folders(folder)
    if (arrays := _find(places, sources, spec)) is not None:
        return arrays
    with contextlib.ExitStack() as stack:
        locked = False
        with contextlib.suppress(OSError):  # without the lock, two processes may do the same work
            locked = stack.enter_context(lock.waiting(sources[0].parent, timeout=LOCK_TIMEOUT))
        if (arrays := _find(places, sources, spec)) is not None:  # written by another process in the meantime
            return arrays
        before = _stat(sources)
        decoded = decode(read)
        if before is not None:
            record = {**before, "checksums": [checksums[path] for path in sources]}
            if any(_store(place, record, decoded, sources, spec, tidy=locked) for place in places):
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


def check_owner(place: Path, source: Path, *files: Path) -> None:
    """Raise PermissionError if the folder, or one of these files in it, may come from somebody who could not have written the
    sources: it belongs to another user, everybody may write to it, or it is a link. Raise FileNotFoundError if it is missing."""
    owners = (os.geteuid(), 0, source.stat().st_uid)
    for path, is_kind in ((place, stat.S_ISDIR), *((file, stat.S_ISREG) for file in files)):
        info = path.lstat()
        if not is_kind(info.st_mode) or info.st_mode & stat.S_IWOTH or info.st_uid not in owners:
            raise PermissionError(path)


def _stat(sources: Sequence[Path]) -> dict[str, Any] | None:
    """The part of a record that tells whether files have changed: size, mtime and ctime of each, in ns, and whether these would
    show a change. None if a file can't be examined; reading it will report why."""
    try:
        stats = [path.stat() for path in sources]
    except OSError:
        return None
    settled = all(time.time_ns() - s.st_ctime_ns >= SETTLED * 1e9 for s in stats)
    return {"stats": [[s.st_size, s.st_mtime_ns, s.st_ctime_ns] for s in stats], "settled": settled}


def _find(places: Sequence[Path], sources: Sequence[Path], spec: CacheSpec) -> Arrays | None:
    """The cache in the first folder that has a valid one, or None."""
    now = _stat(sources)
    if now is None:
        return None
    for place in places:
        with contextlib.suppress(OSError, ValueError, RecursionError):  # damaged
            if (arrays := _load(place, now, sources, spec)) is not None:
                return arrays
    return None


def _load(place: Path, now: dict[str, Any], sources: Sequence[Path], spec: CacheSpec) -> Arrays | None:
    """The cache in a folder, or None. Most damage raises OSError, ValueError or RecursionError."""
    record_file, values_file = place / f"{spec.name}.json", place / f"{spec.name}.bin"
    check_owner(place, sources[0], record_file, values_file)
    record = json.loads(safe_read.read(record_file, max_bytes=MAX_RECORD_BYTES))
    if not isinstance(record, dict) or record | _identity(sources, spec) != record:
        return None
    if spec.verified and record.get("verified") is not True:
        return None
    unchanged = record.get("settled") is True and record.get("stats") == now["stats"]
    if not unchanged:
        checksums = [checksum(safe_read.read(path, max_bytes=MAX_SOURCE_BYTES)) for path in sources]
        if record.get("checksums") != checksums:
            return None
    arrays = _open(values_file, spec, record.get("crc32c"))
    if arrays is not None and not unchanged and record | now != record:
        with contextlib.suppress(OSError):
            check_writable(place)
            _write(record_file, json.dumps(record | now).encode())
    return arrays


def _identity(sources: Sequence[Path], spec: CacheSpec) -> dict[str, Any]:
    """The part of a record that must equal that of a record written now."""
    return {"format": FORMAT, "sources": [path.name for path in sources], "shapes": [[*spec.train], [*spec.test]]}


def _open(path: Path, spec: CacheSpec, crc32c: Any) -> Arrays | None:
    """The arrays in a file; None if it does not match its record.

    The file is read for its checksum before it is mapped: a disk error raises OSError there, but is a signal in a map.
    """
    import numpy as np

    channels = spec.train[1]
    sizes = [channels * (SCALE + 1) * 8, math.prod(spec.train), math.prod(spec.test), spec.train[0], spec.test[0]]
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
    with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, flags)) as file:
        if os.fstat(file.fileno()).st_size != sum(sizes):  # of pipes and devices, it is 0
            return None
        chunk, crc = np.empty(2**18, dtype=np.uint8), 0  # a chunk stays in the CPU's cache
        while count := file.readinto(chunk.data):
            crc = checksum(chunk[:count], crc)
        if crc != crc32c:
            return None
        values = np.frombuffer(mmap.mmap(file.fileno(), sum(sizes), access=mmap.ACCESS_READ), dtype=np.uint8)
    counts, train, test, *labels = np.split(values, np.cumsum(sizes[:-1]))
    if max(part.max() for part in labels) >= spec.classes:
        return None
    train_labels, test_labels = (part.astype(np.int64) for part in labels)
    train_counts = counts.view("<i8").reshape(channels, -1).astype(np.int64)
    return Arrays(train.reshape(spec.train), train_labels, test.reshape(spec.test), test_labels, SCALE, train_counts)


def _store(
    place: Path, record: dict[str, Any], arrays: Arrays, sources: Sequence[Path], spec: CacheSpec, *, tidy: bool
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
        check_owner(place, sources[0])
        for leftover in place.glob(f".{spec.name}.*.tmp") if tidy else ():
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
        record = {**_identity(sources, spec), "verified": spec.verified, **record, "crc32c": crc}
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
        file.writelines(parts)
