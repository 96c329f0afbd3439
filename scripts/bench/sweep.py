"""Gain and cost of sweeps: parallel against sequential runs, the overhead per run, and the time to skip completed runs.

    python scripts/bench/sweep.py [--runs N] [--steps N] [--jobs N] [--json FILE]

The default runs take about two seconds each (a small CNN on handwritten digits, one thread). Each command is a process of its
own, timed from start to exit. The overhead per run is the time of the sequential sweep, minus that of the same command once all
runs are completed, minus the time that the runs report, divided by their number. Skipping is timed on copies of a run.
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

SKIPPED_RUNS = 100


def sweep(folder: Path, name: str, *words: str) -> float:
    """Seconds of a sweep from start to exit."""
    command = [sys.executable, "-m", "normexp", "train", "-m", "threads=1", f"name={name}", *words]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - start


def measure(folder: Path, *, runs: int, steps: int, jobs: int) -> dict[str, float]:
    words = [f"seed=range(0,{runs})", f"steps={steps}"]
    sequential = sweep(folder, "sequential", *words, "jobs=1")
    all_skipped = sweep(folder, "sequential", *words, "jobs=1")
    parallel = sweep(folder, "parallel", *words, f"jobs={jobs}")
    trained = [read_status(path.parent)["seconds"] for path in folder.glob("runs/sequential/*/status.json")]
    assert len(trained) == runs

    source = next(folder.glob("runs/sequential/*_seed=0"))
    for seed in range(SKIPPED_RUNS):
        copy = folder / "runs" / "skipped" / source.name.replace("seed=0", f"seed={seed}")
        shutil.copytree(source, copy)
        config = (copy / "config.yaml").read_text()
        (copy / "config.yaml").write_text(re.sub(r"^seed: 0$", f"seed: {seed}", config, flags=re.M))
    single = sweep(folder, "skipped", "seed=0", f"steps={steps}", "jobs=1")
    skipped = sweep(folder, "skipped", f"seed=range(0,{SKIPPED_RUNS})", f"steps={steps}", "jobs=1")
    return {
        "runs": runs,
        "seconds_of_a_run": sum(trained) / runs,
        "seconds_one_by_one": sequential,
        "seconds_at_once": parallel,
        "jobs": jobs,
        "times_faster": sequential / parallel,
        "overhead_of_a_run": (sequential - all_skipped - sum(trained)) / runs,
        "seconds_to_skip_a_run": (skipped - single) / (SKIPPED_RUNS - 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=36)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), runs=arguments.runs, steps=arguments.steps, jobs=arguments.jobs)
    table = Table("what", "measured", "goal", box=None, pad_edge=False)
    table.add_row(f"a run of {arguments.steps} steps", f"{results['seconds_of_a_run']:.2f} s", "")
    table.add_row(f"{arguments.runs} of them one by one", f"{results['seconds_one_by_one']:.1f} s", "")
    table.add_row(f"{arguments.jobs} at once", f"{results['seconds_at_once']:.1f} s", "")
    table.add_row("times faster", f"{results['times_faster']:.2f}", "1.7 on 2 cores")
    table.add_row("overhead of a run", f"{results['overhead_of_a_run']:.2f} s", "0.4 s")
    table.add_row("skipping a run that is done", f"{results['seconds_to_skip_a_run']:.3f} s", "0.25 s")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
