"""The process that passes a run's records to a tracker: `python -m normexp.sinks.trackers.process DIR TRACKER LOGGED_BYTES`.

stdin: lines as in metrics.jsonl, with `histograms`, and at the end {"success": bool}; without that line, the run was killed.
stdout: the reason of a failure. stderr: train.log.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from normexp.config import flatten, name_own_choices, printable, show
from normexp.rundir import read_config, to_json
from normexp.rundir.atomic import DirectoryGuard, write_text
from normexp.rundir.reader import displayable_json
from normexp.sinks.trackers.base import Entry, RunDescription, TrackedRun, without_secrets

STATE = "tracker.json"
"""File in the run directory: tracker, id and address of the tracked run, and its last step."""

FILES = ("config.yaml", "environment.json", "metrics.jsonl", "histograms.png")
"""Files to upload when the run ends, with a report if it has completed."""

SAVE_SECONDS = 1.0  # between updates of tracker.json
FINISH_SECONDS = 600  # limit on uploads of a process whose run was killed; otherwise the run waits, with its own limit
READ_BYTES = 2**20  # what has arrived meanwhile is logged together, which is much faster with a database


def main() -> int:
    directory, tracker, logged_bytes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    reason = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # greetings and hints of the libraries; errors go to stderr
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, signal.SIG_IGN
        )  # a cluster may send them to all processes; the end of stdin ends this one
    with suppress(OSError):
        os.nice(10)  # training goes first
    try:
        track(directory, tracker, logged_bytes)
    except BaseException as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines()
        line = without_secrets(lines[0].rstrip(" .")) if lines else type(error).__name__
        os.write(reason, show(line, 120).encode())
        return 1
    return 0


def track(directory: Path, tracker: str, logged_bytes: int) -> None:
    guard = DirectoryGuard(directory)
    saved = displayable_json(directory / STATE)
    known_id = saved.get("id") if saved.get("tracker") == tracker else None
    run = open_run(tracker, describe(directory), known_id if isinstance(known_id, str) else None)
    last = saved["step"] if run.resumed and isinstance(saved.get("step"), int) else -1
    written = 0.0

    def save() -> None:
        guard.check()
        state = {"tracker": tracker, "id": run.id, "where": without_secrets(run.where), "step": last}
        write_text(directory / STATE, to_json(state, indent=2) + "\n")

    save()
    with (directory / "metrics.jsonl").open("rb") as file:
        earlier = file.read(logged_bytes).splitlines()
    success = None
    for lines in chain([earlier], received()):
        messages = [json.loads(line) for line in lines]
        success = next((message["success"] for message in messages if "success" in message), None)
        entries = [parse(message) for message in messages if "step" in message]
        new = [entry for entry in entries if entry.step > last]  # a resumed run repeats steps
        if new:
            run.log(new)
            last = new[-1].step
            if time.monotonic() - written > SAVE_SECONDS:
                save()
                written = time.monotonic()
    signal.alarm(FINISH_SECONDS)
    save()
    files = [path for name in FILES if (path := directory / name).is_file()]
    with TemporaryDirectory(prefix="normexp-") as folder:
        page = Path(folder, "report.html")
        if success and write_report(directory, page):
            files.append(page)
        run.finish(files, last, success=success)


def write_report(directory: Path, page: Path) -> bool:
    """Write the page of `normexp report`. Returns whether that succeeded; if not, train.log says why."""
    command = [sys.executable, "-P", "-m", "normexp", "report", str(directory), "--html", str(page)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode == 0


def open_run(tracker: str, description: RunDescription, known_id: str | None) -> TrackedRun:
    match tracker:
        case "mlflow":
            from normexp.sinks.trackers.mlflow import MLflowRun

            return MLflowRun(description, known_id)
        case "wandb":
            from normexp.sinks.trackers.wandb import WandbRun

            return WandbRun(description, known_id)
        case _:
            from normexp.sinks.trackers.trackio import TrackioRun

            return TrackioRun(description, known_id)


def describe(directory: Path) -> RunDescription:
    config = {
        key: value for key, value in name_own_choices(flatten(read_config(directory))).items() if key != "tracker"
    }
    directory = directory.absolute()
    sweep = directory.parent.name if (directory.parent / "sweep.json").exists() else None
    return RunDescription(directory, sweep, config)


def received() -> Iterator[Sequence[bytes]]:
    """The lines on stdin, as many at a time as have arrived."""
    rest = b""
    while chunk := os.read(0, READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines


def parse(message: Mapping[str, Any]) -> Entry:
    """The entry of a line. Non-finite numbers, which JSON lacks, are restored; undefined ones are left out."""
    values = {**message, **message.get("nonfinite", {})}
    step, histograms = values.pop("step"), values.pop("histograms", {})
    values.pop("nonfinite", None)
    scalars = {printable(tag): float(value) for tag, value in values.items() if value is not None}
    return Entry(step, scalars, {tag: (edges, counts) for tag, (edges, counts) in histograms.items()})


if __name__ == "__main__":
    sys.exit(main())
