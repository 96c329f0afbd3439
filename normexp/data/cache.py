"""Cache of decoded data sets, several times as fast to read as the source files.

A cache has two files: NAME.bin holds the arrays, NAME.json describes the source files. They are stored in a hidden folder next
to the data or, if that is not writable, in the user's cache folder. Both are written to temporary files and then renamed. If
either is damaged, or a kill between the two renames leaves a pair that doesn't match, the data is decoded again and the cache
replaced. Every load verifies all checksums, so writing needs no fsync: data lost in a power cut is detected.
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

FORMAT = 1  # increment to invalidate existing caches
SCALE = 255  # largest pixel value
MAX_RECORD_BYTES, MAX_SOURCE_BYTES = 100_000, 200_000_000  # larger files are not normexp's and could fill the memory
LOCK_TIMEOUT = 60.0  # seconds to wait for another process that decodes the same data
SETTLED = 2.0  # age in seconds at which any further change shows in a file's timestamps, which some file systems round

Reader = Callable[..., bytearray]
"""reader(path, max_bytes=...) reads a source file. Raises ConfigError if it is larger or can't be read."""


@dataclass(frozen=True, kw_only=True)
class CacheSpec:
    """Expected content of a cache: shapes of the images (N, C, H, W) and number of classes.

    verified: whether the source files must match the published checksums. listing: hash of the names, sizes and modification
    times of the source files, if they are too many to be compared by their content; then `sources` is their folder alone.
    """

    name: str
    train: tuple[int, int, int, int]
    test: tuple[int, int, int, int]
    classes: int
    verified: bool
    listing: str = ""

    @property
    def label_type(self) -> str:
        """Data type of the labels in the cache."""
        return "u1" if self.classes <= 256 else "<u2"

    def compared(self, sources: Sequence[Path]) -> Sequence[Path]:
        """The source files that are compared one by one."""
        return () if self.listing else sources


def checksum(content: bytearray | NDArray[Any], crc: int = 0) -> int:
    """CRC-32C of bytes or of an array. crc: checksum of the preceding content."""
    import google_crc32c
    import numpy as np

    return int(google_crc32c.extend(crc, np.ascontiguousarray(content)))


def cached(spec: CacheSpec, folder: Path, sources: Sequence[Path], decode: Callable[[Reader], Arrays]) -> Arrays:
    """Load the arrays from the cache, or decode the source files if they have changed or there is no cache.

    decode: called with a reader for the source files; may raise ConfigError. Images from the cache are read-only memory maps. If
    several processes find no cache, one decodes while the others wait.
    """
    checksums: dict[Path, int] = {}

    def read(path: Path, *, max_bytes: int) -> bytearray:
        try:
            content = safe_read.read(path, max_bytes=max_bytes)
        except OSError as error:
            raise ConfigError(f"{path} can't be read ({error.strerror}).") from error
        checksums[path] = checksum(content)
        return content

    folders = cache_folders(folder)
    if (arrays := _find(folders, sources, spec)) is not None:
        return arrays
    with contextlib.ExitStack() as stack:
        locked = False
        with contextlib.suppress(OSError):  # without the lock, several processes may decode
            locked = stack.enter_context(lock.waiting(sources[0].parent, timeout=LOCK_TIMEOUT))
        if (arrays := _find(folders, sources, spec)) is not None:  # another process has written it in the meantime
            return arrays
        before = _stat(spec.compared(sources))
        decoded = decode(read)
        if before is not None:
            record = {**before, "checksums": [checksums[path] for path in spec.compared(sources)]}
            if any(_store(candidate, record, decoded, sources, spec, clean=locked) for candidate in folders):
                arrays = _find(folders, sources, spec)  # memory maps, to free the memory of `decoded`
    return decoded if arrays is None else arrays


def release(array: NDArray[Any]) -> None:
    """Drop the pages of a memory-mapped array from memory; the next access reads them again. No effect on other arrays."""
    import numpy as np

    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    owner = base.obj if isinstance(base, memoryview) else base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def cache_folders(folder: Path) -> list[Path]:
    """Candidate folders for the cache, in order of preference."""
    folders = [folder / ".normexp"]
    with contextlib.suppress(OSError, RuntimeError):  # a user without a home
        home = Path(os.environ.get("XDG_CACHE_HOME", ""))
        home = home if home.is_absolute() else Path.home() / ".cache"
        key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
        folders.append(home / "normexp" / "data" / key)
    return folders


def check_writable(folder: Path) -> None:
    """Raise PermissionError if the folder, or the parent in which it would be created, is not writable. Respects the permission
    bits even for root, who could write anyway."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.stat().st_mode & 0o222 or not os.access(nearest, os.W_OK):
        raise PermissionError(nearest)


def check_owner(folder: Path, source: Path, *files: Path) -> None:
    """Raise PermissionError if the cache could have been planted: if the folder or a file is a link, belongs to a user other than
    root, this one and the owner of the source, or is writable by everyone. Raise FileNotFoundError if it is missing."""
    owners = (os.geteuid(), 0, source.stat().st_uid)
    for path, is_kind in ((folder, stat.S_ISDIR), *((file, stat.S_ISREG) for file in files)):
        info = path.lstat()
        if not is_kind(info.st_mode) or info.st_mode & stat.S_IWOTH or info.st_uid not in owners:
            raise PermissionError(path)


def _stat(sources: Sequence[Path]) -> dict[str, Any] | None:
    """Part of the record that detects changes: size, mtime and ctime of each source in ns, and whether these are old enough to
    show any change. Returns None if stat fails; reading the file will report why."""
    try:
        stats = [path.stat() for path in sources]
    except OSError:
        return None
    settled = all(time.time_ns() - s.st_ctime_ns >= SETTLED * 1e9 for s in stats)
    return {"stats": [[s.st_size, s.st_mtime_ns, s.st_ctime_ns] for s in stats], "settled": settled}


def _find(folders: Sequence[Path], sources: Sequence[Path], spec: CacheSpec) -> Arrays | None:
    """Load the first valid cache, if any."""
    now = _stat(spec.compared(sources))
    if now is None:
        return None
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, RecursionError):  # damaged
            if (arrays := _load(folder, now, sources, spec)) is not None:
                return arrays
    return None


def _load(folder: Path, now: dict[str, Any], sources: Sequence[Path], spec: CacheSpec) -> Arrays | None:
    """Load the cache in a folder, None if it is outdated. Damage raises OSError, ValueError or RecursionError, or gives None."""
    record_file, values_file = folder / f"{spec.name}.json", folder / f"{spec.name}.bin"
    check_owner(folder, sources[0], record_file, values_file)
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
            check_writable(folder)
            _write(record_file, json.dumps(record | now).encode())
    return arrays


def _identity(sources: Sequence[Path], spec: CacheSpec) -> dict[str, Any]:
    """Part of the record that must be the same in a valid cache."""
    listing = {"listing": spec.listing} if spec.listing else {}
    return {
        **{"format": FORMAT, "sources": [path.name for path in sources], "shapes": [[*spec.train], [*spec.test]]},
        **listing,
    }


def _open(path: Path, spec: CacheSpec, crc32c: Any) -> Arrays | None:
    """Map the arrays of a cache. Returns None if they do not match their checksum. The checksum is computed before the file is
    mapped: a disk error raises OSError when reading, but SIGBUS in a memory map."""
    import numpy as np

    channels, label = spec.train[1], np.dtype(spec.label_type)
    counts_size, label_sizes = (
        channels * (SCALE + 1) * 8,
        [label.itemsize * shape[0] for shape in (spec.train, spec.test)],
    )
    sizes = [counts_size, math.prod(spec.train), math.prod(spec.test), *label_sizes]
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
    with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, flags)) as file:
        if os.fstat(file.fileno()).st_size != sum(sizes):  # 0 for pipes and devices
            return None
        chunk, crc = np.empty(2**18, dtype=np.uint8), 0  # a chunk stays in the CPU's cache
        while count := file.readinto(chunk.data):
            crc = checksum(chunk[:count], crc)
        if crc != crc32c:
            return None
        values = np.frombuffer(mmap.mmap(file.fileno(), sum(sizes), access=mmap.ACCESS_READ), dtype=np.uint8)
    counts, train, test, *encoded = np.split(values, np.cumsum(sizes[:-1]))
    labels = [part.view(label) for part in encoded]
    if max(part.max() for part in labels) >= spec.classes:
        return None
    train_labels, test_labels = (part.astype(np.int64) for part in labels)
    train_counts = counts.view("<i8").reshape(channels, -1).astype(np.int64)
    return Arrays(train.reshape(spec.train), train_labels, test.reshape(spec.test), test_labels, SCALE, train_counts)


def _store(
    folder: Path, record: dict[str, Any], arrays: Arrays, sources: Sequence[Path], spec: CacheSpec, *, clean: bool
) -> bool:
    """Write a cache; returns whether that succeeded. clean: remove temporary files of killed processes; requires the lock."""
    import numpy as np

    assert arrays.scale == SCALE
    assert (arrays.train_images.shape, arrays.test_images.shape) == (spec.train, spec.test)
    new = True
    try:
        new = not folder.is_dir()
        check_writable(folder)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        check_owner(folder, sources[0])
        for leftover in folder.glob(f".{spec.name}.*.tmp") if clean else ():
            with contextlib.suppress(OSError):
                leftover.unlink()
        parts = [
            value_counts(arrays.train_images, SCALE).astype("<i8"),
            *(np.ascontiguousarray(images) for images in (arrays.train_images, arrays.test_images)),
            *(labels.astype(spec.label_type) for labels in (arrays.train_labels, arrays.test_labels)),
        ]
        crc = 0
        for part in parts:
            crc = checksum(part, crc)
        record = {**_identity(sources, spec), "verified": spec.verified, **record, "crc32c": crc}
        _write(folder / f"{spec.name}.bin", *(part.data for part in parts))
        try:
            _write(folder / f"{spec.name}.json", json.dumps(record).encode())
        except OSError:
            (folder / f"{spec.name}.bin").unlink()  # useless without its record
            raise
    except OSError:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return False
    return True


def _write(path: Path, *parts: bytes | memoryview) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()  # if it is an empty folder
    # Not left to the umask: `check_owner` refuses files that everyone can write to.
    with atomic.replacing(path) as temporary, open(temporary, "xb", opener=partial(os.open, mode=0o644)) as file:
        file.writelines(parts)
