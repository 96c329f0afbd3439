"""Jobs on a cluster: they outlive the command that submitted them, and are found again."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from normexp import rundir
from normexp.rundir.atomic import WriteError
from normexp.sweeps.manifest import changing_manifest, read_manifest

JOBS = "slurm"
"""The key of sweep.json under which a job's id has the name of its run."""


def submitted(folder: Path) -> list[str]:
    """The ids of all jobs that submitit has a folder for, in the order in which they were submitted."""
    names = [path.parent.name for path in (folder / ".submitit").glob("*/*_submitted.pkl")]
    ids = [name for name in names if name.replace("_", "").isdigit()]
    return sorted(ids, key=lambda job: tuple(map(int, job.split("_"))))


def is_slurm(launcher: str) -> bool:
    return launcher.endswith(".SlurmLauncher")


@contextmanager
def noting(folder: Path, names: Sequence[str], say: Callable[[str], None]) -> Iterator[None]:
    """Write down and say, while the block waits for them, which jobs train which of the runs."""
    before = set(submitted(folder))
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            new = [job for job in submitted(folder) if job not in before]
            if len(new) == len(names):
                try:
                    with changing_manifest(folder) as manifest:
                        manifest[JOBS] = {**jobs(folder), **dict(zip(new, names, strict=True))}
                except WriteError as error:
                    say(f"{error} The same command will not find these jobs again.")
                say(
                    f"with Slurm: {len(new)} jobs, which go on if this command is stopped; scancel {ids(new)} ends them"
                )
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
    names = {job: str(name) for job, name in known.items()} if isinstance(known, dict) else {}
    # The file may be somebody else's, with names that lead out of the folder.
    return {job: name for job, name in names.items() if Path(name).name == name not in ("", "..")}


def ids(jobs: Iterable[str]) -> str:
    """The ids of jobs as scancel takes them: an array's by its own."""
    return " ".join(sorted({job.split("_")[0] for job in jobs}, key=int))


def tidy(folder: Path) -> None:
    """Write down which runs were killed: those at work on a job that Slurm has no more."""
    known = jobs(folder)
    if not known or shutil.which("squeue") is None:
        return
    there = set(waiting(folder).values())
    for name in set(known.values()) - there:
        with suppress(OSError, ValueError):
            status = rundir.read_status(folder / name)
            if status["state"] == "running" or status["process_gone"]:
                rundir.rewrite_status(folder / name, status, state="killed", error="its Slurm job ended before it did")


def waiting(folder: Path) -> Mapping[str, str]:
    """Of those jobs, the ones that Slurm still has: they wait, or they run. All of them where Slurm does not answer just now."""
    known = jobs(folder)
    if not known or shutil.which("squeue") is None:
        return {}
    asked = subprocess.run(
        ["squeue", "--noheader", "--array", "--format=%i"], capture_output=True, text=True, check=False
    )
    there = set(asked.stdout.split())
    return known if asked.returncode else {job: name for job, name in known.items() if job in there}


PATIENCE = 3
"""How often, a second apart, Slurm must say that a job is gone: between two states it may not be listed."""


def wait(folder: Path, over: Callable[[], bool] = lambda: False) -> None:
    """Wait until Slurm has none of the sweep's jobs, or `over` says that nothing is to be waited for; see what they left."""
    gone = 0 if jobs(folder) else PATIENCE
    while gone < PATIENCE and not over():
        gone = 0 if waiting(folder) else gone + 1
        time.sleep(1.0)
    tidy(folder)
