"""The memory that a run takes at its peak beside a bare loop over the same data with the same net, each in a process of its own.

    python scripts/bench/memory.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

`normexp train data=mnist model=mlp epochs=1` and scripts/bench/bare_mnist.py, by turns; what the system counts as a process's
largest resident set, files that it has mapped included.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import measuring

GOAL = 1.2
MIB = 1024 if sys.platform == "linux" else 1 << 20
"""Units of ru_maxrss in a MiB: Linux counts KiB, macOS bytes."""


def peak(command: list[str]) -> float:
    """MiB at the peak of a process."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "said").open("w+") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=measuring.environment(), stdout=said, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said.read()}")
    return usage.ru_maxrss / MIB


def main() -> None:
    arguments = measuring.parse(measuring.parser(__doc__, repeats=5))
    repeats, steps = (1, ["20"]) if arguments.quick else (arguments.repeats, [])
    length = f"steps={steps[0]}" if steps else "epochs=1"
    words = ["data=mnist", "model=mlp", length, "device=cpu", f"data_dir={arguments.data_dir}"]
    bare = [sys.executable, str(Path(__file__).with_name("bare_mnist.py")), arguments.data_dir, *steps]
    ours = [*measuring.COMMAND, "train", *words]
    pairs = measuring.alternate([lambda: peak(bare), lambda: peak(ours)], repeats, warm_up=not arguments.quick)
    bare_mib, ours_mib = (statistics.median(side) for side in zip(*pairs, strict=True))
    more = {"bare, MiB": bare_mib, "normexp, MiB": ours_mib}
    rows = [measuring.Row("mlp, MNIST, one epoch", [own / by_hand for by_hand, own in pairs], GOAL, more=more)]
    measuring.finish("Peak memory of the process, over that of a bare loop", rows, arguments)


if __name__ == "__main__":
    main()
