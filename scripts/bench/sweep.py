"""What a sweep brings and costs: runs at once against one after another, and what skipping runs takes that are done.

    python scripts/bench/sweep.py [--runs N] [--steps N] [--jobs N] [--json FILE]

The default runs are of about two seconds each (a small CNN on handwritten digits, one thread). All commands are processes of
their own, timed from start to exit. The overhead of a run is what the sequential sweep takes beyond the same command when
all is done, less the time that the runs themselves report, divided by their number. Skipping is timed on copies of a run.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from normexp.rundir import read_status

SKIPPED = 100


def sweep(folder: Path, name: str, *words: str) -> float:
    """Seconds of one command."""
    command = [sys.executable, "-m", "normexp", "train", "-m", "threads=1", f"name={name}", *words]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - began


def measure(folder: Path, *, runs: int, steps: int, jobs: int) -> dict[str, float]:
    words = [f"seed=range(0,{runs})", f"steps={steps}"]
    one_by_one = sweep(folder, "sequential", *words, "jobs=1")
    nothing_to_do = sweep(folder, "sequential", *words, "jobs=1")
    at_once = sweep(folder, "parallel", *words, f"jobs={jobs}")
    trained = [read_status(path.parent)["seconds"] for path in folder.glob("runs/sequential/*/status.json")]
    assert len(trained) == runs

    source = next(folder.glob("runs/sequential/*_seed=0"))
    for seed in range(SKIPPED):
        copy = folder / "runs" / "skipped" / source.name.replace("seed=0", f"seed={seed}")
        shutil.copytree(source, copy)
        config = (copy / "config.yaml").read_text()
        (copy / "config.yaml").write_text(re.sub(r"^seed: 0$", f"seed: {seed}", config, flags=re.M))
    one = sweep(folder, "skipped", "seed=0", f"steps={steps}", "jobs=1")
    skipped = sweep(folder, "skipped", f"seed=range(0,{SKIPPED})", f"steps={steps}", "jobs=1")
    return {
        "runs": runs,
        "seconds_of_a_run": sum(trained) / runs,
        "seconds_one_by_one": one_by_one,
        "seconds_at_once": at_once,
        "jobs": jobs,
        "times_faster": one_by_one / at_once,
        "overhead_of_a_run": (one_by_one - nothing_to_do - sum(trained)) / runs,
        "seconds_to_skip_a_run": (skipped - one) / (SKIPPED - 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=36)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), runs=arguments.runs, steps=arguments.steps, jobs=arguments.jobs)
    table = Table("what", "measured", "goal", box=None, pad_edge=False)
    table.add_row(f"a run of {arguments.steps} steps", f"{found['seconds_of_a_run']:.2f} s", "")
    table.add_row(f"{arguments.runs} of them one by one", f"{found['seconds_one_by_one']:.1f} s", "")
    table.add_row(f"{arguments.jobs} at once", f"{found['seconds_at_once']:.1f} s", "")
    table.add_row("times faster", f"{found['times_faster']:.2f}", "1.7 on 2 cores")
    table.add_row("overhead of a run", f"{found['overhead_of_a_run']:.2f} s", "0.4 s")
    table.add_row("skipping a run that is done", f"{found['seconds_to_skip_a_run']:.3f} s", "0.25 s")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
