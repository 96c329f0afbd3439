"""Download data sets with torchvision, which is imported only if files are missing."""

import importlib
import io
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from normexp.config import ConfigError
from normexp.rundir import lock

_libraries: list[Any] = []  # keeps the operators defined by import_torchvision alive


def import_torchvision() -> Any:
    """Import torchvision.datasets, even if torchvision's compiled operators can't be loaded.

    A torchvision built for CUDA fails to import with a CPU-only torch, because two operators of its detection models are not
    registered. Defining their schemas, without an implementation, is enough for the rest to work.
    """
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    return importlib.import_module("torchvision.datasets")


def fetch(
    name: str, folder: Path, *, files: Sequence[Path], parts: Sequence[Mapping[str, Any]] = ({"train": True},)
) -> None:
    """Download torchvision's data set `name` into the folder if a file is missing. Raises ConfigError if that fails. If several
    processes need it, one downloads while the others wait.

    parts: arguments of torchvision's class, for each call that is needed to download all files."""
    try:
        expected = next((path for path in files if not path.exists()), None)
    except OSError as error:
        raise ConfigError(f"{files[0].parent} can't be opened ({error.strerror}).") from error
    if expected is None:
        return
    missing = [path for path in expected.parents if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock.waiting(folder):
            if not expected.exists():
                print(f"downloading {name} to {folder}", file=sys.stderr)
                datasets = import_torchvision()
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    for arguments in parts:
                        getattr(datasets, name)(root=folder, download=True, **arguments)
    except (OSError, RuntimeError) as error:
        for path in missing:  # remove the new folders if they are empty, innermost first
            with suppress(OSError):
                path.rmdir()
        text = re.sub("^<urlopen error (.*)>$", r"\1", str(error).strip())
        reason = (text or type(error).__name__).splitlines()[0].rstrip(":. ")
        raise ConfigError(
            f"{expected} does not exist, and downloading it failed ({reason}). Put {name} there in torchvision's layout, or set "
            "data_dir to a folder that has it."
        ) from error
