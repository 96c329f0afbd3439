"""Time and memory to load a data set: without a cache, while building the cache, and from the cache.

    python scripts/bench/data.py [--data-dir DIR] [--repeats N] [--json FILE] [--quick]

Measured from the call to the splits as tensors, in a process that has imported everything; the cases alternate. The files are
symlinked into a temporary folder, so that no existing cache is used and none is left behind, and are in the page cache, so
that the disk is not measured. CIFAR-10 is not compared with the published checksums (data.verify=false). Memory is the peak
of the process minus its use before the call; pages of a mapped file count.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import measuring

CASES = {"mnist": ("MNIST", []), "cifar10": ("cifar-10-batches-py", ["data.verify=false"])}
"""The folder of each data set, and further overrides."""

CACHE_STATES = ("no cache", "first time", "second time")


def child(name: str, folder: str) -> None:
    """Load a data set; print the seconds, the MiB and the fingerprint."""
    import torch

    from normexp.compose.compose import compose
    from normexp.data.splits import load

    def peak_mib() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / measuring.RSS_PER_MIB

    torch.set_num_threads(1)
    config = compose([f"data={name}", f"data_dir={folder}", *CASES[name][1]])
    load(compose([]), torch.device("cpu"))  # warm-up: numpy and torch import more on first use
    before = peak_mib()
    start = time.perf_counter()
    splits = load(config, torch.device("cpu"))
    print(time.perf_counter() - start, peak_mib() - before, splits.fingerprint)


class Loader:
    """Loads a data set in child processes, and collects their memory."""

    def __init__(self, name: str, data_dir: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.source = Path(data_dir) / CASES[name][0]
        self.mib: dict[str, list[float]] = {state: [] for state in CACHE_STATES}
        self.fingerprints: set[str] = set()

    def seconds(self, cache_state: str) -> float:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            data, read_only = Path(folder) / "data", Path(folder) / "read_only"
            data.mkdir()
            (data / CASES[self.name][0]).symlink_to(self.source)
            read_only.mkdir(mode=0o555)
            if cache_state == "no cache":
                data.chmod(0o555)
            if cache_state == "second time":
                self._load(data, read_only)
            seconds, mib = self._load(data, read_only)
            data.chmod(0o755)
        self.mib[cache_state].append(mib)
        return seconds

    def _load(self, data: Path, user_cache: Path) -> tuple[float, float]:
        command = ["env", f"XDG_CACHE_HOME={user_cache}", sys.executable, __file__, "--child", self.name, str(data)]
        seconds, mib, fingerprint = measuring.check_output(command, self.folder).split()
        self.fingerprints.add(fingerprint)
        assert len(self.fingerprints) == 1, "the data differ"
        return float(seconds), float(mib)


def measure(arguments: argparse.Namespace, folder: Path) -> list[measuring.Row]:
    rows = []
    for name in CASES:
        loader = Loader(name, arguments.data_dir, folder)
        sides = [partial(loader.seconds, state) for state in CACHE_STATES]
        repeats = 1 if arguments.quick else arguments.repeats
        rounds = measuring.alternate(sides, repeats, warm_up=not arguments.quick)
        for state, values in zip(CACHE_STATES, zip(*rounds, strict=True), strict=True):
            more = {"memory, MiB": statistics.median(loader.mib[state])}
            rows.append(measuring.report(measuring.Row(f"{name}, {state}", values, unit="s", more=more)))
    return rows


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return
    arguments = measuring.parse(measuring.argument_parser(__doc__, repeats=7))
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments, Path(folder))
    measuring.finish("From the files to the parts of a data set", rows, arguments)


if __name__ == "__main__":
    main()
