"""What checkpoints cost: how long training stands still for one, as a share of the time between two.

The state is that of a run that has long been going: momentum in the optimizer, and as many looks in the picture's memory as it
keeps. On handwritten digits, since the data has no part in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from normexp.compose.compose import compose
from normexp.records import Record
from normexp.training import checkpoint
from normexp.training.build import build
from normexp.training.run import about, open_sinks
from normexp.training.state import Stopwatch, TrainState
from normexp.training.trainer import fit

CASES = {
    "mlp 64-100x3": ["model=mlp"],
    "cnn (the default)": [],
    "resnet 20": ["model=resnet"],
    "resnet 110": ["model=resnet", "model.depth=110"],
    "resnet 110, Adam": ["model=resnet", "model.depth=110", "optim=adam"],
}
LOOKS = 256
"""That the picture of all layers remembers at most."""


def measure(overrides: list[str], repeats: int) -> tuple[list[float], float, float]:
    """Seconds of each checkpoint, its size in MB, and the seconds that the config has between two."""
    config = compose([*overrides, "batch_size=8", "steps=2", "probe.every=1", "log_every=1", "threads=1"])
    parts = build(config)
    course = TrainState(2, Stopwatch(parts.device))
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        sinks = open_sinks(directory, about(parts, config, {}, {}), Console(quiet=True), 2)

        def log(record: Record) -> None:
            for sink in sinks.values():
                sink.log(record)
            if record.histograms and record.step == 2:  # the same look, as often as the picture would have it
                for step in range(3, 3 + LOOKS):
                    sinks["sheet"].log(Record(step, 0.0, 0.0, {}, record.histograms))

        fit(parts, config, course, log=log, interrupted=lambda: False)
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            checkpoint.save(directory, parts, course, config, sinks, seconds=0.0, started="")
            taken.append(time.perf_counter() - start)
        size = (directory / checkpoint.NAME).stat().st_size / 1e6
    assert config.checkpoints.seconds is not None
    return taken, size, config.checkpoints.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    arguments = parser.parse_args()
    table = Table("network", "MB", "ms a checkpoint, median [quartiles]", "share of training, in %", box=None)
    found = {}
    for name, overrides in CASES.items():
        taken, size, between = measure(overrides, arguments.repeats)
        low, median, high = (1000 * t for t in statistics.quantiles(taken, n=4))
        share = 100 * median / 1000 / between
        found[name] = {"megabytes": size, "milliseconds": [low, median, high], "percent": share}
        table.add_row(name, f"{size:.1f}", f"{median:.1f} [{low:.1f}-{high:.1f}]", f"{share:.3f}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
