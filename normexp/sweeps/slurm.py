"""Track Slurm jobs, which outlive the command that submitted them."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from normexp import rundir
from normexp.rundir.atomic import WriteError
from normexp.sweeps.manifest import edit_manifest, read_manifest

JOBS_KEY = "slurm"
"""The key of sweep.json that maps job ids to names of runs."""

MAX_MISSES = 3
"""Limit on the times in a row, a second apart, that squeue may list no job: between two states a job may be missing."""


def submit_and_wait(
    folder: Path, names: Sequence[str], launch: Callable[[], object], say: Callable[[str], None]
) -> None:
    """Submit jobs, record in sweep.json which job trains which of the named runs, and wait as long as Slurm has them.

    The launcher runs in a thread, since it waits forever for a job that was cancelled before it began.
    """
    errors: list[Exception] = []

    def submit() -> None:
        try:
            launch()
        except Exception as error:
            errors.append(error)

    new: list[str] = []
    before = set(submitted_jobs(folder))
    thread = threading.Thread(target=submit, daemon=True)
    thread.start()
    while thread.is_alive() and len(new) != len(names):
        time.sleep(0.5)
        new = [job for job in submitted_jobs(folder) if job not in before]
    if len(new) == len(names):
        try:
            with edit_manifest(folder) as manifest:
                manifest[JOBS_KEY] = {**recorded_jobs(folder), **dict(zip(new, names, strict=True))}
        except WriteError as error:
            say(f"{error} The same command will not recognize these jobs.")
        cancel = f"scancel {scancel_ids(new)}"
        say(f"submitted {len(new)} Slurm jobs, which continue if this command is stopped; to cancel: {cancel}")
    while thread.is_alive() and not recorded_jobs(folder):
        time.sleep(0.5)
    wait_for_jobs(folder, over=lambda: not thread.is_alive())
    if errors:
        raise errors[0]


def submitted_jobs(folder: Path) -> list[str]:
    """Ids of all submitted jobs, according to submitit's folders, in the order of submission."""
    names = [path.parent.name for path in (folder / ".submitit").glob("*/*_submitted.pkl")]
    ids = [name for name in names if name.replace("_", "").isdigit()]
    return sorted(ids, key=lambda job: tuple(map(int, job.split("_"))))


def recorded_jobs(folder: Path) -> Mapping[str, str]:
    """The recorded jobs: ids and the names of their runs."""
    known = (read_manifest(folder) or {}).get(JOBS_KEY)
    names = {job: str(name) for job, name in known.items()} if isinstance(known, dict) else {}
    # The file may come from someone else, with names that lead out of the folder.
    return {job: name for job, name in names.items() if Path(name).name == name not in ("", "..")}


def scancel_ids(jobs: Iterable[str]) -> str:
    """The ids as arguments of scancel; a job array has one id."""
    return " ".join(sorted({job.split("_")[0] for job in jobs}, key=int))


def queued_jobs(folder: Path) -> Mapping[str, str]:
    """The recorded jobs that Slurm still has, pending or running. All of them if squeue fails."""
    known = recorded_jobs(folder)
    if not known or shutil.which("squeue") is None:
        return {}
    words = ["squeue", "--noheader", "--array", "--format=%i"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    return known if result.returncode else {job: known[job] for job in known.keys() & {*result.stdout.split()}}


def wait_for_jobs(folder: Path, over: Callable[[], bool] = lambda: False) -> None:
    """Wait until Slurm has none of the sweep's jobs or `over` returns True, then mark the lost runs."""
    misses = 0 if recorded_jobs(folder) else MAX_MISSES
    while misses < MAX_MISSES and not over():
        misses = 0 if queued_jobs(folder) else misses + 1
        time.sleep(1.0)
    mark_lost_runs(folder)


def mark_lost_runs(folder: Path) -> None:
    """Mark the runs as killed whose Slurm job ended without recording a result."""
    known = recorded_jobs(folder)
    if not known or shutil.which("squeue") is None:
        return
    for name in set(known.values()) - set(queued_jobs(folder).values()):
        with suppress(OSError, ValueError):
            status = rundir.read_status(folder / name)
            if status["state"] == "running" or status["process_gone"]:
                error = "its Slurm job ended before the run was finished"
                rundir.rewrite_status(folder / name, status, state="killed", error=error)
