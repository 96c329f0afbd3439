"""Helpers for tests of sweeps: short runs on few samples."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from normexp.rundir import read_metrics, read_status

SHORT = ["data.train_size=200", "probe=off", "log_every=5", "eval_every=50"]


def states(folder):
    """The state of each run of a sweep."""
    return {path.parent.name: read_status(path.parent)["state"] for path in sorted(Path(folder).glob("*/status.json"))}


def stamps(folder):
    """Modification times of the status of each run."""
    return {path.parent.name: path.stat().st_mtime_ns for path in Path(folder).glob("*/status.json")}


def results(folder):
    """All metrics of each run, without those that depend on the clock."""
    return {
        path.parent.name: [
            {tag: value for tag, value in entry.items() if "second" not in tag} for entry in read_metrics(path.parent)
        ]
        for path in sorted(Path(folder).glob("*/status.json"))
    }


def begin(*words, **options):
    """Start a sweep in the background that reacts to Ctrl-C, even if the tests run in a background job."""

    def heed_ctrl_c():  # a shell's background jobs, and so their children, ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-m", "normexp", "train", *words],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **options},
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it sets a signal, nothing else
    )


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def at_work(folder, step=5):
    """The pids of the runs that have made a step."""
    found = []
    for path in Path(folder).glob("*/metrics.jsonl"):
        lines = path.read_text().rpartition("\n")[0].splitlines()  # the last line may be half written
        if lines and json.loads(lines[-1])["step"] >= step and read_status(path.parent)["state"] == "running":
            found.append(read_status(path.parent)["pid"])
    return found


def descendants(pid):
    """All descendants of a process."""
    children = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == pid]
    return children + [grandchild for child in children for grandchild in descendants(child)]


def _parent(entry):
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def gone(pids):
    """Whether all processes have ended. Zombies count as ended."""

    def lives(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    return not any(lives(pid) for pid in pids)


def environment(**more):
    return {**os.environ, **more}
