"""Run normexp as from a shell."""

import subprocess
import sys
from pathlib import Path

NORMEXP = [sys.executable, "-m", "normexp"]


def start(*words, **options):
    return subprocess.run([*NORMEXP, *words], capture_output=True, text=True, timeout=300, check=False, **options)


def the_run(folder="runs") -> Path:
    (directory,) = Path(folder).iterdir()
    return directory
