"""`normexp tensorboard [DIR]`: TensorBoard on this machine, for its user alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from normexp.config import ConfigError, show

SAMPLES = "scalars=100000,histograms=10000,images=1000"
"""TensorBoard thins out what it shows to 1,000 scalars and 500 histograms a tag unless it is told otherwise."""


def main(argv: list[str]) -> int:
    """Become TensorBoard for a folder of runs, at localhost. Further flags are passed on to it."""
    if {"-h", "--help"} & set(argv):
        print(
            "usage: normexp tensorboard [DIR] [flags of TensorBoard]\n  look at the runs in DIR (default: runs) in the browser"
        )
        return 0
    flags = list(argv)
    folder = Path("runs")
    if flags and not flags[0].startswith("-"):
        folder = Path(flags.pop(0))
    elif len(flags) > 1 and Path(flags[-1]).is_dir():  # behind the flags
        folder = Path(flags.pop())
    if not folder.is_dir():
        raise ConfigError(
            f"There is no folder {show(folder)}: normexp train makes one, or name the folder of your runs."
        )
    sys.stdout.flush()
    command = ["tensorboard", "--logdir", str(folder), "--host", "localhost", "--samples_per_plugin", SAMPLES, *flags]
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *command[1:]])
