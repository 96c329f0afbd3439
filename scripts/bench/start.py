"""How long it takes from the shell's prompt to the first training step, and to what is answered without training.

    python scripts/bench/start.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

All are processes of their own, by turns. The first step is seen from outside: the metrics file, looked at every millisecond, has
its first line when step 1 is done (the evaluation before it too); the run is then killed. From each such time that of
`python -c "import torch"` in the same round is taken away. MNIST is what it is the second time, when caches have been made.
"""

import statistics
import subprocess
import sys
import tempfile
import time
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
PATIENCE = 120.0
"""Seconds after which a run that has made no step has gone wrong."""


def command_seconds(command: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        measuring.must_succeed(command, Path(folder))
        return time.perf_counter() - start


def first_step_seconds(overrides: list[str]) -> float:
    """From the start of the process to its first line of metrics."""
    with tempfile.TemporaryDirectory() as folder:
        metrics, said = Path(folder) / "runs" / "first" / "metrics.jsonl", Path(folder) / "said"
        command = [*measuring.COMMAND, "train", *overrides, "name=first"]
        with said.open("w") as output:
            start = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=folder, env=measuring.environment(), stdout=output, stderr=subprocess.STDOUT
            )
            try:
                while not _has_content(metrics):
                    if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                        raise SystemExit(f"{' '.join(command)} made no step:\n{said.read_text()}")
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
    arguments = measuring.parse(measuring.parser(__doc__, repeats=15))
    repeats = 1 if arguments.quick else arguments.repeats
    place = ["device=cpu", f"data_dir={arguments.data_dir}"]

    runs = {what: [*overrides, *place] for what, (overrides, _) in FIRST_STEP.items()}
    sides = [lambda: command_seconds(IMPORT)]
    sides += [lambda words=words: first_step_seconds(words) for words in runs.values()]  # type: ignore[misc]
    imports, *firsts = zip(*measuring.alternate(sides, repeats, warm_up=not arguments.quick), strict=True)
    rows = []
    for (what, (_, goal)), seconds in zip(FIRST_STEP.items(), firsts, strict=True):
        over = [first - alone for first, alone in zip(seconds, imports, strict=True)]
        more = {"from the prompt, s": statistics.median(seconds), "import torch, s": statistics.median(imports)}
        rows.append(measuring.told(measuring.Row(f"{what}, over import torch", over, goal, unit="s", more=more)))

    commands = [[*measuring.COMMAND, *words] for words, _ in ANSWERS.values()]
    sides = [lambda command=command: command_seconds(command) for command in commands]  # type: ignore[misc]
    answers = zip(*measuring.alternate(sides, repeats, warm_up=not arguments.quick), strict=True)
    for (what, (_, goal)), seconds in zip(ANSWERS.items(), answers, strict=True):
        rows.append(measuring.told(measuring.Row(what, seconds, goal, unit="s")))
    measuring.finish("From the shell's prompt", rows, arguments)


if __name__ == "__main__":
    main()
