"""Run a part of scripts/gpu_check.py, which starts a process for each:

    python scripts/gpu/run_part.py PART --device cpu|cuda --seconds N --results FILE [--quick]

A part appends a JSON object for each result to the file. After the given seconds it starts nothing new.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

SCRIPTS = Path(__file__).parents[1]
sys.path += [str(SCRIPTS), str(SCRIPTS / "bench")]

from agreement import check_combinations, check_probes  # noqa: E402 - after the path is set
from parts import Part  # noqa: E402
from reproducibility import check_determinism, check_resume, check_sweep, train_runs  # noqa: E402
from speed import measure_device, measure_formats, measure_loop, measure_throughput  # noqa: E402

PARTS: dict[str, Callable[[Part], None]] = {
    "device": measure_device,
    "determinism": check_determinism,
    "resume": check_resume,
    "combinations": partial(check_combinations, compiles=False),
    "probes": check_probes,
    "sweep": check_sweep,
    "loop": measure_loop,
    "throughput": partial(measure_throughput, compiles=False),
    "formats": measure_formats,
    "compiled combinations": partial(check_combinations, compiles=True),
    "compiled throughput": partial(measure_throughput, compiles=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "runs"])
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--results", type=Path, default=Path(os.devnull))
    parser.add_argument("--folder", type=Path, help="where the part `runs` trains")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    part = Part(arguments.device, arguments.quick, time.monotonic() + arguments.seconds, arguments.results)
    if arguments.part == "runs":
        train_runs(part, arguments.folder)
    else:
        PARTS[arguments.part](part)


if __name__ == "__main__":
    main()
