"""List the GPUs that CUDA would use, without importing torch, and reserve one for each run of a sweep."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import count, takewhile
from pathlib import Path

from normexp.rundir import atomic, lock

DEV, PROC = Path("/dev"), Path("/proc/driver/nvidia/gpus")
WSL = Path("/usr/lib/wsl/lib/libcuda.so.1")
"""WSL has no device file per GPU; CUDA works there if this library exists."""

SLOTS_DIR = ".gpus"
"""Folder in a sweep's directory with one lock per slot."""


def visible_gpus() -> list[str]:
    """The GPUs that a run can use, each as a value of CUDA_VISIBLE_DEVICES: an index, or the UUID that the variable has.

    Empty if there is no GPU, if the variable hides all of them, or if torch was built without CUDA.
    """
    # In a container, the device files or the driver's list may be missing.
    files = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in DEV.glob("nvidia*"))
    listed = len(list(PROC.iterdir())) if PROC.is_dir() else 0
    present = (files or listed or int(WSL.exists())) if _torch_has_cuda() else 0
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not present:
        return [str(index) for index in range(present)]
    valid = lambda entry: entry.startswith(("GPU-", "MIG-")) or (entry.isdecimal() and int(entry) < present)  # noqa: E731
    return list(takewhile(valid, map(str.strip, chosen.split(","))))  # CUDA ignores an invalid entry and all after it


def _torch_has_cuda() -> bool:
    """Whether torch was built with CUDA, according to its version.py."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    return re.search(r"^cuda\b.*= None$", Path(spec.origin).with_name("version.py").read_text(), re.MULTILINE) is None


@contextmanager
def reserved_gpu(folder: Path) -> Iterator[str | None]:
    """Reserve a GPU for a run of the sweep in a folder; yields its value for CUDA_VISIBLE_DEVICES, None without GPUs.

    A run takes the first free slot, a lock that is released when its process ends. Slot i uses GPU i modulo the number of GPUs,
    so more runs than GPUs are spread evenly.
    """
    gpus = visible_gpus()
    if not gpus:
        yield None
        return
    with ExitStack() as locks:
        for slot in count():
            directory = folder / SLOTS_DIR / str(slot)
            with atomic.writing(directory):
                directory.mkdir(parents=True, exist_ok=True)
            if locks.enter_context(lock.held(directory)):
                break
        yield gpus[slot % len(gpus)]
