"""What a whole job takes, from the shell's prompt to the process's exit, beside the same job in Lightning.

    python scripts/bench/job.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

MNIST, a 784-64-128-64-10 MLP with batch norm, Adam, batches of 128, one epoch: `normexp train` with its defaults against
scripts/bench/peer_lightning.py, with the data loaded in the process itself and in two workers, by turns. The ratio is to the
faster of the two. Both sides train on 54,000 images, validate on 6,000 and test on 10,000, log to TensorBoard and save a
checkpoint.
"""

import importlib.util
import json
import statistics
import sys
import tempfile
import time
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


def ours(data_dir: str, steps: int | None) -> dict[str, Any]:
    """Seconds, steps and test accuracy of `normexp train`."""
    with tempfile.TemporaryDirectory() as folder:
        length = "epochs=1" if steps is None else f"steps={steps}"
        words = [*JOB, length, "device=cpu", f"data_dir={data_dir}", "name=job"]
        start = time.perf_counter()
        measuring.must_succeed([*measuring.COMMAND, "train", *words], Path(folder))
        seconds = time.perf_counter() - start
        status = read_status(Path(folder) / "runs" / "job")
    return {"seconds": seconds, "steps": status["step"], "test/accuracy": status["metrics"]["test/accuracy"]}


def peer(data_dir: str, steps: int | None, workers: int) -> dict[str, Any]:
    """The same of Lightning. after_fit: seconds that the test phase and the exit took."""
    with tempfile.TemporaryDirectory() as folder:
        limit = [] if steps is None else [f"--steps={steps}"]
        command = [sys.executable, str(PEER), data_dir, folder, f"--workers={workers}", *limit]
        start = time.perf_counter()
        output = measuring.must_succeed(command, Path(folder))
        seconds = time.perf_counter() - start
    said = json.loads(output.splitlines()[-1])
    tested = said["seconds"]["test"] - said["seconds"]["fit"]
    return {"seconds": seconds, "test_seconds": tested, "steps": said["steps"], "test/accuracy": said["test/accuracy"]}


def measure(data_dir: str, *, repeats: int, steps: int | None, warm_up: bool) -> list[measuring.Row]:
    found: dict[int | str, list[dict[str, Any]]] = {"normexp": [], **{workers: [] for workers in WORKERS}}

    def side(name: int | str) -> float:
        result = peer(data_dir, steps, name) if isinstance(name, int) else ours(data_dir, steps)
        found[name].append(result)
        who = name if isinstance(name, str) else f"Lightning, {name} workers"
        print(f"{who}: {result['seconds']:.1f} s", file=sys.stderr, flush=True)
        return float(result["seconds"])

    times = measuring.alternate([lambda name=name: side(name) for name in found], repeats, warm_up=warm_up)  # type: ignore[misc]
    same = {result["steps"] for results in found.values() for result in results}
    if len(same) != 1:
        raise SystemExit(f"The sides made different numbers of steps: {sorted(same)}.")
    mine, *peers = ([round_[i] for round_ in times] for i in range(len(found)))
    fastest = min(range(len(peers)), key=lambda i: statistics.median(peers[i]))
    workers, theirs = WORKERS[fastest], peers[fastest]
    tests = [result["test_seconds"] for result in found[workers][-repeats:]]  # without the warm-up's
    without = [peer - tested for peer, tested in zip(theirs, tests, strict=True)]

    def accuracy(name: int | str) -> dict[str, float]:
        return {"test accuracy": statistics.median(result["test/accuracy"] for result in found[name])}

    rows = [
        measuring.Row(f"times faster than Lightning ({workers} workers)", _over(theirs, mine), GOAL, at_least=True),
        measuring.Row("the same, if Lightning left out its test phase", _over(without, mine)),
        measuring.Row("normexp", mine, unit="s", more=accuracy("normexp")),
    ]
    for count, seconds in zip(WORKERS, peers, strict=True):
        rows.append(measuring.Row(f"Lightning, {count} workers", seconds, unit="s", more=accuracy(count)))
    return rows


def _over(theirs: list[float], mine: list[float]) -> list[float]:
    return [peer / own for peer, own in zip(theirs, mine, strict=True)]


def main() -> None:
    arguments = measuring.parse(measuring.parser(__doc__, repeats=5))
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
