"""Time and memory of `normexp report` on many long runs: for each kind of output, with N/4, N/2 and N runs.

    python scripts/bench/report.py [--runs N] [--steps N] [--outputs table,csv,html,figures] [--json FILE]

Trains one short run with the default network and probes, and fabricates sweeps from it over norms, learning rates, dropout and
seeds. Their runs have the requested number of logged steps, every tenth with a snapshot of the probes, as by default. Each
command is a process of its own, with its files in the page cache. Memory is the peak of the process and its children.
"""

import argparse
import itertools
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

NORMS = ["none", "bn", "ln", "gn"]
LRS = [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
SEEDS = range(5)

OUTPUTS = {
    "table": [],
    "csv": ["--csv", "rows.csv"],
    "html": ["--html", "report.html"],
    "figures": ["--figures", "figures"],
}

NORMEXP = [sys.executable, "-m", "normexp"]


def template(folder: Path) -> Path:
    """The directory of a real run."""
    steps = ["steps=200", "eval_every=20", "log_every=10", "name=template", f"runs_dir={folder}"]
    subprocess.run([*NORMEXP, "train", *steps], check=True, stdout=subprocess.DEVNULL)
    return folder / "template"


def metrics(lines: list[dict[str, Any]], steps: int, generator: random.Random) -> str:
    """metrics.jsonl with this number of logged steps, every tenth a snapshot, and numbers with all digits."""
    snapshots = [line for line in lines if "weight_norm/head" in line and "train/loss" in line]
    others = [line for line in lines if "weight_norm/head" not in line and "train/loss" in line]
    text = []
    for entry in range(steps):
        source = generator.choice(others if entry % 10 else snapshots)
        line = {
            tag: value * generator.uniform(0.9, 1.1) if isinstance(value, float) else value
            for tag, value in source.items()
        }
        text.append(json.dumps({**line, "step": 10 * entry, "epoch": entry / 2}))
    return "\n".join(text) + "\n"


def fabricate(source: Path, sweep: Path, runs: int, steps: int) -> None:
    """Write a sweep directory with this number of runs. Those with the highest learning rate, every tenth, diverged."""
    generator = random.Random(0)
    config = yaml.safe_load((source / "config.yaml").read_text())
    status = json.loads((source / "status.json").read_text())
    lines = [json.loads(line) for line in (source / "metrics.jsonl").read_text().splitlines()]
    variants = [metrics(lines, steps, generator).encode() for _ in range(8)]
    dropouts = [round(0.05 * step, 2) for step in range(math.ceil(runs / len(NORMS) / len(LRS) / len(SEEDS)))]
    combinations = itertools.product(dropouts, NORMS, LRS, SEEDS)
    for number, (dropout, norm, lr, seed) in enumerate(itertools.islice(combinations, runs)):
        directory = sweep / f"dropout={dropout}_norm={norm}_lr={lr}_seed={seed}"
        directory.mkdir(parents=True)
        run_config = {**config, "norm": {**config["norm"], "name": norm}, "lr": lr, "seed": seed, "dropout": dropout}
        (directory / "config.yaml").write_text(yaml.safe_dump(run_config, sort_keys=False))
        state = "diverged" if lr == LRS[-1] else "completed"
        final = {tag: value and value * generator.uniform(0.9, 1.0) for tag, value in status["metrics"].items()}
        (directory / "status.json").write_text(json.dumps({**status, "state": state, "metrics": final}, indent=2))
        (directory / "metrics.jsonl").write_bytes(variants[number % len(variants)])
        for name in ("environment.json", "config_diff.yaml", "histograms.png"):
            shutil.copy(source / name, directory)


def measure(words: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of a command, and peak memory in MB of its process and children together."""
    peak = 0
    start = time.perf_counter()
    process = subprocess.Popen([*NORMEXP, *words], cwd=folder, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    assert process.returncode == 0, words
    return seconds, peak / 1e6


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its children, in which shared pages count once. Returns 0 if it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = [
            child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
        ]
    except OSError:
        return 0
    proportional = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return 1024 * proportional + sum(resident_bytes(int(child)) for child in children)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000, help="logged steps of each run")
    parser.add_argument("--outputs", default=",".join(OUTPUTS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = Table("output", "runs", "seconds", "ms a run", "MB of memory", "MB written", title="normexp report")
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = template(folder)
        sizes = [arguments.runs // 4, arguments.runs // 2, arguments.runs]
        for runs in sizes:
            fabricate(source, folder / "sweep", runs, arguments.steps)
            for output in arguments.outputs.split(","):
                seconds, memory = measure(["report", "sweep", *OUTPUTS[output]], folder)
                written = [folder / "rows.csv", folder / "report.html", *(folder / "figures").glob("*")]
                size = sum(path.stat().st_size for path in written if path.is_file()) / 1e6
                row = {"output": output, "runs": runs, "seconds": seconds, "memory_mb": memory, "written_mb": size}
                results.append(row)
                numbers = f"{seconds:.2f}", f"{1000 * seconds / runs:.2f}", f"{memory:.0f}", f"{size:.2f}"
                table.add_row(output, str(runs), *numbers, end_section=output == arguments.outputs.split(",")[-1])
                for path in written:
                    path.unlink(missing_ok=True)
            shutil.rmtree(folder / "sweep")
    Console().print(table)
    if arguments.json:
        machine = {"python": sys.version.split()[0], "cpus": os.cpu_count(), "logged_steps": arguments.steps}
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
