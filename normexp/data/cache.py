"""Data sets as they were decoded, kept for the next run: reading that is several times as fast as decoding anew.

A cache is two files in a hidden folder beside the data (or, where that can't be written to, in the user's cache folder):
NAME.bin has the arrays' values, one array behind the other, and NAME.json says what they were made of. Each is written under
another name and renamed. A record that does not fit its arrays, as a kill in between leaves, is as good as none, and so is
all else that can be wrong with a cache: the data is decoded again, and the cache replaced where that is possible. Since all
is compared with its checksum on every load, nothing waits for the disk: what a power cut takes is noticed.
"""

from __future__ import annotations

import contextlib
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

from normexp.data.base import Arrays, value_counts
from normexp.data.files import Reader, checksum, checksum_of_file
from normexp.data.place import alone_in, may_write, places, trust
from normexp.rundir import atomic, safe_read

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
"""Counted up when caches that were made before must not be used any more."""

SCALE = 255
"""What is kept are bytes."""

MOST_RECORD, MOST_SOURCE = 100_000, 200_000_000
"""Bytes."""

SETTLED = 2.0
"""Seconds since a file was last changed, from which on another change must show in its times, which some file systems round."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a cache of this name is to hold: images of these shapes (N, C, H, W) and labels below `classes`; and whether its
    sources are to have passed the comparison with the published checksums."""

    name: str
    train: tuple[int, int, int, int]
    test: tuple[int, int, int, int]
    classes: int
    verified: bool


@dataclass(frozen=True)
class _Sources:
    """Files as they are now. stats: size, mtime and ctime of each, in ns; settled: whether these would tell of a change."""

    paths: Sequence[Path]
    stats: list[list[int]]
    settled: bool


def cached(kind: Kind, folder: Path, sources: Sequence[Path], decode: Callable[[Reader], Arrays]) -> Arrays:
    """The data set's arrays, from its cache where that was made of the sources as they are now, else from `decode`, which
    is given what is to read them and may raise ConfigError. Images from the cache are read-only maps of its file.

    Of several processes that miss the cache at the same time, one decodes and the others wait.
    """
    where = places(folder)
    if (found := _find(where, sources, kind)) is not None:
        return found
    with alone_in(sources[0].parent) as alone:
        if (found := _find(where, sources, kind)) is not None:  # another process has made it meanwhile
            return found
        reader = Reader()
        before = _look(sources)
        made = decode(reader)
        if before is not None:
            checksums = [reader.checksums[path] for path in sources]
            if any(_make(place, before, checksums, made, kind, tidy=alone) for place in where):
                found = _find(where, sources, kind)  # a map takes no memory
    return made if found is None else found


def release(array: NDArray[Any]) -> None:
    """Let go of the memory that a map's pages take; they are read again where they are used again. Other arrays stay as they
    are."""
    import numpy as np

    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    owner = base.obj if isinstance(base, memoryview) else base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _look(sources: Sequence[Path]) -> _Sources | None:
    """None where one can't be looked at: whoever reads it will say so."""
    try:
        found = [path.stat() for path in sources]
    except OSError:
        return None
    now = time.time_ns()
    settled = all(now - each.st_ctime_ns >= SETTLED * 1e9 for each in found)
    return _Sources(sources, [[each.st_size, each.st_mtime_ns, each.st_ctime_ns] for each in found], settled)


def _find(where: Sequence[Path], sources: Sequence[Path], kind: Kind) -> Arrays | None:
    now = _look(sources)
    if now is None:
        return None
    for place in where:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if (found := _load(place, now, kind)) is not None:
                return found
    return None


def _load(place: Path, now: _Sources, kind: Kind) -> Arrays | None:
    """What a place has of a data set. Raises OSError, ValueError and RecursionError for nearly anything that is wrong."""
    trust(place, now.paths[0], files=(f"{kind.name}.json", f"{kind.name}.bin"))
    record = json.loads(safe_read.read(place / f"{kind.name}.json", most=MOST_RECORD))
    if not isinstance(record, dict) or any(record.get(key) != value for key, value in _what(now, kind).items()):
        return None
    if kind.verified and record.get("verified") is not True:
        return None
    known = record.get("settled") is True and record.get("stats") == now.stats
    if not known and record.get("checksums") != [checksum_of_file(path, most=MOST_SOURCE) for path in now.paths]:
        return None
    arrays = _open(place / f"{kind.name}.bin", kind, record.get("crc32c"))
    if arrays is not None and not known:
        renewed = {**record, "stats": now.stats, "settled": now.settled}
        if renewed != record:
            with contextlib.suppress(OSError):
                may_write(place)
                _write(place / f"{kind.name}.json", json.dumps(renewed).encode())
    return arrays


def _what(sources: _Sources, kind: Kind) -> dict[str, Any]:
    """The part of a record that must be as it would be written now."""
    return {"format": FORMAT, "sources": [path.name for path in sources.paths], "shapes": [[*kind.train], [*kind.test]]}


def _open(path: Path, kind: Kind, crc32c: Any) -> Arrays | None:
    """The arrays in a file; None where it is not as its record says.

    It is read once for its checksum before it is mapped: a fault of the disk is an error there, but a signal in a map.
    """
    import numpy as np

    channels = kind.train[1]
    sizes = [channels * (SCALE + 1) * 8, math.prod(kind.train), math.prod(kind.test), kind.train[0], kind.test[0]]
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        of = os.fstat(descriptor)
        if not stat.S_ISREG(of.st_mode) or of.st_size != sum(sizes) or _checksum(descriptor) != crc32c:
            return None
        values = np.frombuffer(mmap.mmap(descriptor, sum(sizes), access=mmap.ACCESS_READ), dtype=np.uint8)
    finally:
        os.close(descriptor)
    counts, train, test, train_labels, test_labels = np.split(values, np.cumsum(sizes[:-1]))
    if max(train_labels.max(), test_labels.max()) >= kind.classes:
        return None
    return Arrays(
        train.reshape(kind.train),
        train_labels.astype(np.int64),
        test.reshape(kind.test),
        test_labels.astype(np.int64),
        scale=SCALE,
        counts=counts.view("<i8").reshape(channels, -1).astype(np.int64),
    )


def _checksum(descriptor: int) -> int:
    """The CRC-32C of an open file, read in pieces that stay in the processor's cache."""
    import numpy as np

    piece, offset, crc = np.empty(2**18, dtype=np.uint8), 0, 0
    while count := os.preadv(descriptor, [piece.data], offset):
        crc, offset = checksum(piece[:count], crc), offset + count
    return crc


def _make(place: Path, sources: _Sources, checksums: list[int], arrays: Arrays, kind: Kind, *, tidy: bool) -> bool:
    """Write a cache, if that is possible. tidy: remove what killed processes left, as nobody else is at work."""
    import numpy as np

    assert arrays.scale == SCALE
    assert (arrays.train_images.shape, arrays.test_images.shape) == (kind.train, kind.test)
    new = True
    try:
        new = not place.is_dir()
        may_write(place)
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        trust(place, sources.paths[0])
        if tidy:
            for leftover in place.glob(f".{kind.name}.*.tmp"):
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
            **_what(sources, kind),
            "verified": kind.verified,
            "stats": sources.stats,
            "settled": sources.settled,
            "checksums": checksums,
            "crc32c": crc,
        }
        _write(place / f"{kind.name}.bin", *(part.data for part in parts))
        try:
            _write(place / f"{kind.name}.json", json.dumps(record).encode())
        except OSError:
            (place / f"{kind.name}.bin").unlink()  # it would take its room for nothing
            raise
    except OSError:
        if new:
            with contextlib.suppress(OSError):
                place.rmdir()
        return False
    return True


def _write(path: Path, *parts: bytes | memoryview) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()  # a folder that has its name
    # 0o644: where the umask lets everyone write, `trust` would refuse the file.
    with atomic.replacing(path) as temporary, open(temporary, "xb", opener=partial(os.open, mode=0o644)) as file:
        for part in parts:
            file.write(part)
