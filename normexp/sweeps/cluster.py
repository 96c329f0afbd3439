"""Jobs on a cluster: they outlive the command that submitted them, and are found again."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from normexp.sweeps.session import add_to_manifest, read_manifest

JOBS = "slurm"
"""The key of sweep.json under which a job's id has the name of its run."""


def submitted(folder: Path) -> list[str]:
    """The ids of all jobs that submitit has a folder for, in the order in which they were submitted."""
    names = [path.parent.name for path in (folder / ".submitit").glob("*/*_submitted.pkl")]
    ids = [name for name in names if name.replace("_", "").isdigit()]
    return sorted(ids, key=lambda job: tuple(map(int, job.split("_"))))


@contextmanager
def noting(folder: Path, names: Sequence[str], before: Collection[str]) -> Iterator[None]:
    """Write down, while the block waits for them, which jobs train which of the runs. before: jobs of earlier commands."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            new = [job for job in submitted(folder) if job not in before]
            if len(new) == len(names):
                add_to_manifest(folder, **{JOBS: {**jobs(folder), **dict(zip(new, names, strict=True))}})
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def jobs(folder: Path) -> Mapping[str, str]:
    """The name of the run of each job that was submitted."""
    known = (read_manifest(folder) or {}).get(JOBS)
    return known if isinstance(known, dict) else {}


def waiting(folder: Path) -> Mapping[str, str]:
    """Of those jobs, the ones that Slurm still has: they wait, or they run."""
    known = jobs(folder)
    if not known or shutil.which("squeue") is None:
        return {}
    asked = subprocess.run(
        ["squeue", "--noheader", "--array", "--format=%i"], capture_output=True, text=True, check=False
    )
    there = set(asked.stdout.split())
    return {job: name for job, name in known.items() if job in there}
