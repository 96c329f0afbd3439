"""environment.json: what a run was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from normexp import NUMERICS, __version__

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "tensorboard", "numpy", "scikit-learn", "rich")


def environment(argv: Sequence[str], *, device: str, threads: int) -> dict[str, Any]:
    """Command line, commit, versions and machine. device: its name in words; threads: of torch."""
    return {
        "command": list(argv),
        "directory": str(Path.cwd()),
        "numerics": NUMERICS,
        "git": _git(),
        "python": platform.python_version(),
        "packages": {"normexp": __version__, **{name: _version(name) for name in PACKAGES}},
        "host": platform.node(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "device": device,
        "threads": threads,
    }


def _version(package: str) -> str | None:
    """None for a package that is not installed, as torchvision may be, which is only used to download data."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that normexp runs from; None where it was installed from a wheel."""
    root = Path(__file__).parents[2]
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
