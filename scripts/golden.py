"""Record the golden traces: bitwise results of short runs with fixed seeds, which tests/training/test_golden.py guards.

    python scripts/golden.py

Trains each case and overwrites tests/training/golden/CASE.json. Run it only after a change that is meant to alter the
arithmetic: raise normexp.NUMERICS first, and name the cause in the commit message.
"""

import hashlib
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from normexp import NUMERICS, rundir
from normexp.compose.compose import compose
from normexp.config import Config
from normexp.training import checkpoint
from normexp.training.run import run

FOLDER = Path(__file__).parents[1] / "tests" / "training" / "golden"

CASES: dict[str, list[str]] = {
    "default": [],
    "mlp-none-adam": ["model=mlp", "norm=none", "optim=adam", "lr=0.003", "steps=60", "dropout=0.1"],
    "cnn-gn-post": [  # linearity is newer than the trace
        *("norm=gn", "norm.position=post", "steps=40", "schedule=step", "grad_clip=1"),
        *("probe=full", "probe.linearity=false"),
    ],
    "cnn-in-gap": ["norm=in", "model.head=gap", "steps=40", "optim=adamw", "lr=0.01", "activation=gelu"],
    "resnet-ln-augmented": ["model=resnet", "model.depth=8", "norm=ln", "steps=30", "data.augment=[crop]"],
    "mlp-mnist": ["data=mnist", "model=mlp", "data.train_size=3000", "data.val_size=0.01", "steps=25", "log_every=5"],
    "resnet-cifar10": [
        *("data=cifar10", "data.verify=false", "data.train_size=500", "data.val_size=0.002", "batch_size=32"),
        *("model=resnet", "model.depth=8", "model.width=4", "steps=6", "log_every=2"),
    ],
}
"""Overrides by case. MNIST and CIFAR-10 are read from $NORMEXP_DATA_DIR."""

COMMON = ["threads=1", "device=cpu", "eval_every=null", "eval_samples=null", "probe.early=0"]
"""Overrides of all cases. One evaluation per epoch: how often to evaluate does not change what is trained."""

VISIBLE_TAGS = ("train/loss", "grad_norm/total", "val/loss", "val/accuracy", "test/loss", "test/accuracy")
"""Tags that a trace contains in clear, in addition to a digest of the whole entry."""


def config(case: str, data_dir: str) -> Config:
    return compose([*CASES[case], *COMMON, f"data_dir={data_dir}"])


def machine() -> dict[str, str]:
    """What determines the last bits. Traces of other versions or processors are not compared bit for bit."""
    processor = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        info = {key.strip(): value.strip() for key, value in pairs}
        processor = " ".join(info.get(key, "") for key in ("vendor_id", "cpu family", "model", "stepping"))
    return {
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": processor,
    }


def trace(config: Config) -> dict[str, Any]:
    """Train the config and return its log entries, without times, and a digest of the weights."""
    with tempfile.TemporaryDirectory() as folder:
        result = run(
            config,
            make_directory=lambda files: rundir.create_run_directory(Path(folder), "run", files),
            diff={},
            command=["golden"],
            console=Console(quiet=True),
        )
        assert result.state == "completed", result.error
        entries = [
            {tag: value for tag, value in entry.items() if "second" not in tag}
            for entry in rundir.read_metrics(result.directory)
        ]
        weights = checkpoint.load(result.directory / checkpoint.NAME)["model"]
    lines = [
        {
            "step": entry["step"],
            **{tag: entry[tag] for tag in VISIBLE_TAGS if tag in entry},
            "all": _digest(json.dumps(entry, sort_keys=True).encode()),
        }
        for entry in entries
    ]
    content = b"".join(value.contiguous().numpy().tobytes() for _, value in sorted(weights.items()))
    return {"entries": lines, "weights": _digest(content)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    data_dir = os.environ.get("NORMEXP_DATA_DIR", "data")
    for case in CASES:
        path = FOLDER / f"{case}.json"
        new = {"numerics": NUMERICS, "machine": machine(), **trace(config(case, data_dir))}
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if old != new and all(old.get(key) == new[key] for key in ("numerics", "machine")):
            sys.exit(
                f"{case} is not what it was: raise NUMERICS in normexp/__init__.py first, since runs no longer compare."
            )
        path.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
