"""Identify a process in a file, and tell whether it is still alive."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def identity(pid: int | None = None) -> dict[str, Any]:
    """Unique identity of a process (default: this one): pid, host, and start time in clock ticks since boot. Pids are reused,
    so the start time is needed; it is None on systems without /proc."""
    pid = pid or os.getpid()
    return {"pid": pid, "host": os.uname().nodename, "began": _start_time(pid)}


def alive(who: Mapping[str, Any]) -> bool | None:
    """Whether the process of an `identity` is alive. None if it is on another host, where this can't be checked."""
    if who.get("host") != os.uname().nodename:
        return None
    pid, start = who.get("pid"), who.get("began")
    if not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # too large for a pid
        return False
    except PermissionError:  # another user's
        pass
    now = _start_time(pid)
    if now is None:
        return not Path("/proc/self/stat").exists()  # it just ended, or there is no /proc
    return start is None or now == start


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # after the name, which may contain spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie has ended
