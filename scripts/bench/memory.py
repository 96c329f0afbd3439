"""Peak memory of a run relative to a bare loop with the same data and network, each in its own process.

    python scripts/bench/memory.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

Compares `normexp train data=mnist model=mlp epochs=1` with scripts/bench/bare_mnist.py, alternating, by the largest resident set
of the process, which includes mapped files.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import measuring

GOAL = 1.2


def peak_mib(command: list[str]) -> float:
    """MiB at the peak of a process."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "output").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=measuring.environment(), stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output.read()}")
    return usage.ru_maxrss / measuring.RSS_PER_MIB


def main() -> None:
    arguments = measuring.parse(measuring.argument_parser(__doc__, repeats=5))
    repeats, steps = (1, ["20"]) if arguments.quick else (arguments.repeats, [])
    length = f"steps={steps[0]}" if steps else "epochs=1"
    overrides = ["data=mnist", "model=mlp", length, "device=cpu", f"data_dir={arguments.data_dir}"]
    bare = [sys.executable, str(Path(__file__).with_name("bare_mnist.py")), arguments.data_dir, *steps]
    normexp = [*measuring.COMMAND, "train", *overrides]
    sides = [lambda: peak_mib(bare), lambda: peak_mib(normexp)]
    pairs = measuring.alternate(sides, repeats, warm_up=not arguments.quick)
    bare_mib, normexp_mib = (statistics.median(side) for side in zip(*pairs, strict=True))
    more = {"bare, MiB": bare_mib, "normexp, MiB": normexp_mib}
    rows = [measuring.Row("mlp, MNIST, one epoch", [b / a for a, b in pairs], GOAL, more=more)]
    measuring.finish("Peak memory of the process, over that of a bare loop", rows, arguments)


if __name__ == "__main__":
    main()
