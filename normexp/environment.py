"""environment.json: what a run was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from normexp import NUMERICS

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "tensorboard", "numpy", "scikit-learn", "rich")


def environment(argv: Sequence[str], *, device: str, threads: int) -> dict[str, Any]:
    """Command line, commit, versions and machine. device: its name in words; threads: of torch."""
    return {
        "command": list(argv),
        "directory": str(Path.cwd()),
        "numerics": NUMERICS,
        "git": _git(),
        "python": platform.python_version(),
        "packages": {"normexp": version("normexp"), **{name: version(name) for name in PACKAGES}},
        "host": platform.node(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "device": device,
        "threads": threads,
    }


def _git() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that normexp runs from; None where it was installed from a wheel."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):  # no git on this machine, or a checkout without a commit
        return None
    return {"commit": commit, "dirty": bool(changes)}
