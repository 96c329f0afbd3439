"""Which process a file speaks of, and whether it is still there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def identity(pid: int | None = None) -> dict[str, Any]:
    """What tells a process (default: this one) from all others: pid, host, and when it began, in clock ticks since the boot.

    Pids are used again; the beginning is null where the system doesn't tell it.
    """
    pid = pid or os.getpid()
    return {"pid": pid, "host": os.uname().nodename, "began": _began(pid)}


def alive(who: Mapping[str, Any]) -> bool | None:
    """Whether the process of an `identity` lives; None where it is another host's, which can't be told from here."""
    if who.get("host") != os.uname().nodename:
        return None
    pid, began = who.get("pid"), who.get("began")
    if not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # none has a number that large
        return False
    except PermissionError:  # somebody else's
        pass
    now = _began(pid)
    if now is None:
        return not Path("/proc/self/stat").exists()  # gone in between, or a system without /proc
    return began is None or now == began


def _began(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # behind the name, which may have spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie has ended
