"""Identify a process in a file, and check whether it is still alive."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def identity() -> dict[str, Any]:
    """Unique identity of this process: pid, host, and start time in clock ticks since boot, because pids are reused. The start
    time is None on systems without /proc."""
    return {"pid": os.getpid(), "host": os.uname().nodename, "began": _start_time(os.getpid())}


def alive(who: Mapping[str, Any]) -> bool | None:
    """Whether the process with this `identity` is alive. None if it is on another host, which can't be checked."""
    if who.get("host") != os.uname().nodename:
        return None
    pid, start = who.get("pid"), who.get("began")
    if not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # OverflowError: too large for a pid
        return False
    except PermissionError:  # owned by another user
        pass
    now = _start_time(pid)
    if now is None:
        return not Path("/proc/self/stat").exists()  # False if it has just ended, True on systems without /proc
    return start is None or now == start


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # after the name, which may contain spaces and parentheses
    return None if fields[0] in "ZX" else int(fields[19])  # Z, X: the process has ended
