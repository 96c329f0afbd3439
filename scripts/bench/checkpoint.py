"""Cost of checkpoints: how long training pauses for one, as a share of the time between two.

The state is that of a long run: the optimizer has momentum, and the histogram sheet holds as many snapshots as it keeps.
Trains on the handwritten digits, as the data does not matter.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import measuring
from harness import all_sinks
from rich.console import Console
from rich.table import Table

from normexp.compose.compose import compose
from normexp.records import Record
from normexp.training import checkpoint
from normexp.training.build import build
from normexp.training.state import TrainState
from normexp.training.trainer import Trainer

CASES = {
    "mlp 64-100x3": ["model=mlp"],
    "cnn (the default)": [],
    "resnet 20": ["model=resnet"],
    "resnet 110": ["model=resnet", "model.depth=110"],
    "resnet 110, Adam": ["model=resnet", "model.depth=110", "optim=adam"],
}
MAX_SNAPSHOTS = 256
"""The number of snapshots that the histogram sheet keeps at most."""


def measure(overrides: list[str], repeats: int) -> tuple[list[float], float, float]:
    """Seconds of each checkpoint, its size in MB, and the configured seconds between two."""
    config = compose([*overrides, "batch_size=8", "steps=2", "probe.every=1", "log_every=1", "threads=1"])
    parts = build(config)
    state = TrainState(2, parts.device)
    with tempfile.TemporaryDirectory() as folder, all_sinks(parts, config, Path(folder)) as sinks:

        def log(record: Record) -> None:
            sinks.log(record)
            if record.histograms and record.step == 2:  # the same snapshot again, until the sheet is full
                for step in range(3, 3 + MAX_SNAPSHOTS):
                    sinks.by_name["sheet"].log(Record(step, 0.0, 0.0, {}, record.histograms))

        Trainer(parts, config, state=state, log=log).train()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            checkpoint.save(Path(folder), parts, state, config, sinks, seconds=0.0, started="")
            seconds.append(time.perf_counter() - start)
        megabytes = (Path(folder) / checkpoint.NAME).stat().st_size / 1e6
    assert config.checkpoints.seconds is not None
    return seconds, megabytes, config.checkpoints.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    arguments = parser.parse_args()
    table = Table("network", "MB", "ms a checkpoint, median [quartiles]", "share of training, in %", box=None)
    results = {}
    for name, overrides in CASES.items():
        seconds, megabytes, interval = measure(overrides, arguments.repeats)
        low, median, high = (1000 * s for s in measuring.quartiles(seconds))
        percent = 100 * median / 1000 / interval
        results[name] = {"megabytes": megabytes, "milliseconds": [low, median, high], "percent": percent}
        table.add_row(name, f"{megabytes:.1f}", f"{median:.1f} [{low:.1f}-{high:.1f}]", f"{percent:.3f}")
    Console().print(table)
    if arguments.json:
        measuring.write_json(arguments.json, results)


if __name__ == "__main__":
    main()
