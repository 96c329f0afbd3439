"""environment.json: software and hardware of a run."""

import os
import platform
import subprocess
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from normexp import NUMERICS, __version__
from normexp.config import installed, show
from normexp.rundir.reader import displayable_json

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "tensorboard", "numpy", "scikit-learn", "rich")


def environment(
    argv: Sequence[str], *, device: str, threads: int, components: Sequence[installed.Component] = ()
) -> dict[str, Any]:
    """Command line, git commit, package versions and hardware. device: name of the GPU, or `cpu`. threads: torch's. components:
    those of other packages that the run uses."""
    others = {each.package: each.version for each in components}
    return {
        "command": list(argv),
        "directory": str(Path.cwd()),
        "numerics": NUMERICS,
        "git": _git(),
        "python": platform.python_version(),
        "packages": {"normexp": __version__, **{name: _version(name) for name in PACKAGES}, **others},
        **({"components": {each.label: each.package for each in components}} if components else {}),
        "host": platform.node(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "device": device,
        "threads": threads,
    }


def processor() -> str:
    """Name and number of cores of the processor, such as 'AMD EPYC 7R13, 8 cores'."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores"


def missing_package(directory: Path) -> str | None:
    """A sentence about a component that a run was trained with and whose package is not installed; None if there is none."""
    stored = displayable_json(directory / "environment.json")
    recorded, packages = stored.get("components"), stored.get("packages")
    here = {each.label for found in installed.components().values() for each in found}
    for label, package in recorded.items() if isinstance(recorded, dict) else ():
        if label not in here:
            version = packages.get(package, "") if isinstance(packages, dict) and isinstance(package, str) else ""
            return (
                f"{show(label)} comes from the package {show(f'{package} {version}'.strip())}, which is not installed."
            )
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # such as torchvision, which is only needed for downloads
        return None


def _git() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that normexp runs from. None outside of a checkout, as in a wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    git = partial(subprocess.run, cwd=root, capture_output=True, text=True, check=True)
    try:
        commit, changes = git(["git", "rev-parse", "HEAD"]).stdout, git(["git", "status", "--porcelain"]).stdout
    except (OSError, subprocess.CalledProcessError):  # git is not installed, or the repository has no commit
        return None
    return {"commit": commit.strip(), "dirty": bool(changes)}
