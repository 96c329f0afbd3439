"""A file system of a few hundred kilobytes, where mounting one is allowed."""

import contextlib
import os
import subprocess

import pytest

PAGE = os.sysconf("SC_PAGE_SIZE")


def mounted(folder, options):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs to mount a file system: {done.stderr.strip()}")


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@contextlib.contextmanager
def small_disk(folder, pages=1024):
    folder.mkdir()
    mounted(folder, f"size={pages * PAGE}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leave(disk, pages):
    """Fill a disk up to its last pages."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    stat = os.statvfs(disk)
    filler.write_bytes(bytes(max(0, stat.f_bavail - pages) * stat.f_frsize))


def free(disk):
    (disk / "filler").unlink()
