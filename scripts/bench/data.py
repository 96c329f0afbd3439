"""How long a run waits for its data, and what memory that takes: without a cache, the first time, and the second time.

    python scripts/bench/data.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

From the call to the parts of the data set, split and as tensors, in a process of its own that has imported all; by turns. The
files lie behind links in a folder that is thrown away, so that no cache is found or left elsewhere; they are read before, so
that it is not the disk that is measured. CIFAR-10 is not compared with the published checksums (data.verify=false).
The memory is what the process has at its peak beyond what it had before; pages of a mapped file count.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import measuring

CASES = {"mnist": ("MNIST", []), "cifar10": ("cifar-10-batches-py", ["data.verify=false"])}
"""The folder of a data set, and what else its config has."""

MIB = 1024 if sys.platform == "linux" else 1 << 20
"""Units of ru_maxrss in a MiB: Linux counts KiB, macOS bytes."""


def child(name: str, folder: str) -> None:
    """Load a data set; print the seconds and the MiB."""
    import torch

    from normexp.compose.compose import compose
    from normexp.data.splits import load

    torch.set_num_threads(1)
    config = compose([f"data={name}", f"data_dir={folder}", *CASES[name][1]])
    load(compose([]), torch.device("cpu"))  # what the first use of numpy and torch imports is no matter of the data
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    splits = load(config, torch.device("cpu"))
    seconds = time.perf_counter() - start
    print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / MIB, splits.fingerprint)


class Times:
    """Seconds of one data set in the three ways, in the order in which they come; memory and checksum beside them."""

    def __init__(self, name: str, data_dir: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.source = Path(data_dir) / CASES[name][0]
        self.mib: dict[str, list[float]] = {}
        self.fingerprints: set[str] = set()

    def ways(self) -> dict[str, Callable[[], float]]:
        return {way: partial(self._seconds, way) for way in ("no cache", "first time", "second time")}

    def _seconds(self, way: str) -> float:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            data, closed = Path(folder) / "data", Path(folder) / "closed"
            data.mkdir()
            (data / CASES[self.name][0]).symlink_to(self.source)
            closed.mkdir(mode=0o555)
            if way == "no cache":
                data.chmod(0o555)
            if way == "second time":
                self._run(data, closed)
            seconds, mib = self._run(data, closed)
            data.chmod(0o755)
        self.mib.setdefault(way, []).append(mib)
        return seconds

    def _run(self, data: Path, closed: Path) -> tuple[float, float]:
        command = ["env", f"XDG_CACHE_HOME={closed}", sys.executable, __file__, "--child", self.name, str(data)]
        seconds, mib, fingerprint = measuring.must_succeed(command, self.folder).split()
        self.fingerprints.add(fingerprint)
        assert len(self.fingerprints) == 1, "the data differ"
        return float(seconds), float(mib)


def run(arguments: argparse.Namespace, folder: Path) -> list[measuring.Row]:
    rows = []
    for name in CASES:
        times = Times(name, arguments.data_dir, folder)
        ways = times.ways()
        repeats = 1 if arguments.quick else arguments.repeats
        rounds = measuring.alternate([*ways.values()], repeats, warm_up=not arguments.quick)
        for way, values in zip(ways, zip(*rounds, strict=True), strict=True):
            more = {"memory, MiB": statistics.median(times.mib[way])}
            rows.append(measuring.told(measuring.Row(f"{name}, {way}", values, unit="s", more=more)))
    return rows


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return
    arguments = measuring.parse(measuring.parser(__doc__, repeats=7))
    with tempfile.TemporaryDirectory() as folder:
        rows = run(arguments, Path(folder))
    measuring.finish("From the files to the parts of a data set", rows, arguments)


if __name__ == "__main__":
    main()
