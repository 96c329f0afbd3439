"""Time from starting a command to its first training step, and of commands that don't train.

    python scripts/bench/start.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

Each command is a process of its own; they alternate. The first step is seen from outside: the metrics file, polled every
millisecond, has its first line when step 1 is done (after the first evaluation); the run is then killed. From each of these
times that of `python -c "import torch"` in the same round is subtracted. MNIST is read from the cache.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import measuring

IMPORT = [sys.executable, "-c", "import torch"]
FIRST_STEP = {
    "first step, digits (the default)": ([], 0.7),
    "first step, MNIST mlp, second time": (["data=mnist", "model=mlp"], 1.0),
}
ANSWERS = {
    "normexp --help": (["--help"], 0.15),
    "normexp train --help": (["train", "--help"], 0.6),
    "normexp train --cfg job": (["train", "--cfg", "job"], 0.6),
    "completion of a key": (["completion", "query", "normexp train norm=bn mo"], 0.6),
    "completion of a value": (["completion", "query", "normexp train norm="], 0.6),
}
TIMEOUT = 120.0
"""Seconds in which every run should have made its first step."""


def first_step_seconds(overrides: list[str]) -> float:
    """Seconds from the start of the process to its first line of metrics."""
    with tempfile.TemporaryDirectory() as folder:
        metrics, output = Path(folder) / "runs" / "first" / "metrics.jsonl", Path(folder) / "output"
        command = [*measuring.COMMAND, "train", *overrides, "name=first"]
        with output.open("w") as file:
            start = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=folder, env=measuring.environment(), stdout=file, stderr=subprocess.STDOUT
            )
            try:
                while not _has_content(metrics):
                    if process.poll() is not None or time.perf_counter() - start > TIMEOUT:
                        raise SystemExit(f"{' '.join(command)} made no step:\n{output.read_text()}")
                    time.sleep(0.001)
                return time.perf_counter() - start
            finally:
                process.kill()
                process.wait()


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def main() -> None:
    arguments = measuring.parse(measuring.argument_parser(__doc__, repeats=15))
    repeats, warm_up = (1, False) if arguments.quick else (arguments.repeats, True)
    common = ["device=cpu", f"data_dir={arguments.data_dir}"]

    sides = [partial(measuring.command_seconds, IMPORT)]
    sides += [partial(first_step_seconds, [*overrides, *common]) for overrides, _ in FIRST_STEP.values()]
    imports, *runs = zip(*measuring.alternate(sides, repeats, warm_up=warm_up), strict=True)
    rows = []
    for (what, (_, goal)), seconds in zip(FIRST_STEP.items(), runs, strict=True):
        over = [run - torch_import for run, torch_import in zip(seconds, imports, strict=True)]
        more = {"from the prompt, s": statistics.median(seconds), "import torch, s": statistics.median(imports)}
        rows.append(measuring.report(measuring.Row(f"{what}, over import torch", over, goal, unit="s", more=more)))

    sides = [partial(measuring.command_seconds, [*measuring.COMMAND, *words]) for words, _ in ANSWERS.values()]
    answers = zip(*measuring.alternate(sides, repeats, warm_up=warm_up), strict=True)
    for (what, (_, goal)), seconds in zip(ANSWERS.items(), answers, strict=True):
        rows.append(measuring.report(measuring.Row(what, seconds, goal, unit="s")))
    measuring.finish("From the shell's prompt", rows, arguments)


if __name__ == "__main__":
    main()
