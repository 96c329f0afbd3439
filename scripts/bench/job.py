"""Time of a whole job, from starting the process to its exit, relative to the same job in Lightning.

    python scripts/bench/job.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

MNIST, a 784-64-128-64-10 MLP with batch norm, Adam, batches of 128, one epoch: `normexp train` with its defaults alternates
with scripts/bench/peer_lightning.py, whose data is loaded in the main process or in two workers. The ratio is to the faster
of the two. Both sides train on 54,000 images, validate on 6,000 and test on 10,000, log to TensorBoard and save a checkpoint.
"""

import importlib.metadata
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import measuring

from normexp.rundir import read_status

GOAL = 5.0
JOB = ["data=mnist", "model=mlp", "model.widths=[64,128,64]", "norm=bn", "optim=adam", "lr=0.001", "batch_size=128"]
PEER = Path(__file__).with_name("peer_lightning.py")
WORKERS = (0, 2)
MISSING = (
    "scripts/bench/job.py compares with Lightning, which is not installed: "
    "pip install --constraint constraints.txt --editable '.[bench]' brings it."
)


def run_normexp(data_dir: str, steps: int | None) -> dict[str, Any]:
    """Seconds, steps and test accuracy of `normexp train`."""
    with tempfile.TemporaryDirectory() as folder:
        length = "epochs=1" if steps is None else f"steps={steps}"
        overrides = [*JOB, length, "device=cpu", f"data_dir={data_dir}", "name=job"]
        start = time.perf_counter()
        measuring.check_output([*measuring.COMMAND, "train", *overrides], Path(folder))
        seconds = time.perf_counter() - start
        status = read_status(Path(folder) / "runs" / "job")
    return {"seconds": seconds, "steps": status["step"], "test/accuracy": status["metrics"]["test/accuracy"]}


def run_lightning(data_dir: str, steps: int | None, workers: int) -> dict[str, Any]:
    """The same for Lightning, and the seconds of its test phase."""
    with tempfile.TemporaryDirectory() as folder:
        limit = [] if steps is None else [f"--steps={steps}"]
        command = [sys.executable, str(PEER), data_dir, folder, f"--workers={workers}", *limit]
        start = time.perf_counter()
        output = measuring.check_output(command, Path(folder))
        seconds = time.perf_counter() - start
    result = json.loads(output.splitlines()[-1])
    test = result["seconds"]["test"] - result["seconds"]["fit"]
    return {
        "seconds": seconds,
        "test_seconds": test,
        "steps": result["steps"],
        "test/accuracy": result["test/accuracy"],
    }


def measure(data_dir: str, *, repeats: int, steps: int | None, warm_up: bool) -> list[measuring.Row]:
    names = ["normexp", *(f"Lightning, {workers} workers" for workers in WORKERS)]
    jobs = [partial(run_normexp, data_dir, steps), *(partial(run_lightning, data_dir, steps, w) for w in WORKERS)]
    results: list[list[dict[str, Any]]] = [[] for _ in jobs]

    def seconds(i: int) -> float:
        results[i].append(jobs[i]())
        print(f"{names[i]}: {results[i][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
        return float(results[i][-1]["seconds"])

    rounds = measuring.alternate([partial(seconds, i) for i in range(len(jobs))], repeats, warm_up=warm_up)
    step_counts = {result["steps"] for side in results for result in side}
    if len(step_counts) != 1:
        raise SystemExit(f"The sides made different numbers of steps: {sorted(step_counts)}.")
    normexp, *lightning = zip(*rounds, strict=True)
    fastest = min(range(len(WORKERS)), key=lambda i: statistics.median(lightning[i]))
    tests = [result["test_seconds"] for result in results[1 + fastest][-repeats:]]  # without the warm-up
    without_test = [peer - test for peer, test in zip(lightning[fastest], tests, strict=True)]
    faster = [peer / own for peer, own in zip(lightning[fastest], normexp, strict=True)]
    faster_without_test = [peer / own for peer, own in zip(without_test, normexp, strict=True)]
    title = f"times faster than Lightning ({WORKERS[fastest]} workers)"
    rows = [
        measuring.Row(title, faster, GOAL, at_least=True),
        measuring.Row("the same, if Lightning left out its test phase", faster_without_test),
    ]
    for name, times, side in zip(names, (normexp, *lightning), results, strict=True):
        accuracy = statistics.median(result["test/accuracy"] for result in side)
        rows.append(measuring.Row(name, times, unit="s", more={"test accuracy": accuracy}))
    return rows


def main() -> None:
    arguments = measuring.parse(measuring.argument_parser(__doc__, repeats=5))
    if importlib.util.find_spec("lightning") is None:
        print(MISSING, file=sys.stderr)
        return
    quick = arguments.quick
    repeats, steps = (1, 20) if quick else (arguments.repeats, None)
    rows = measure(arguments.data_dir, repeats=repeats, steps=steps, warm_up=not quick)
    versions = {name: importlib.metadata.version(name) for name in ("lightning", "torchvision")}
    measuring.finish("One epoch on MNIST, from prompt to exit", rows, arguments, versions=versions)


if __name__ == "__main__":
    main()
