"""environment.json: software and hardware of a run."""

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
    """Command line, git commit, versions and machine. device: readable name. threads: torch's."""
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
    """None if the package is not installed, such as torchvision, which is only needed for downloads."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that normexp runs from. None if it was installed from a wheel."""
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
    except (OSError, subprocess.CalledProcessError):  # git is not installed, or the checkout has no commit
        return None
    return {"commit": commit, "dirty": bool(changes)}
