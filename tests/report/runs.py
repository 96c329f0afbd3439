"""Run directories for tests, written without training."""

import json
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from normexp import rundir
from normexp.cli import main
from normexp.report import terminal
from normexp.report.read import read

CONFIG: dict[str, dict[str, Any] | Any] = {
    "model": {"name": "mlp", "depth": 3, "width": 100},
    "norm": {"name": "none", "position": "pre", "affine": True, "eps": 1e-5},
    "init": {"name": "default"},
    "data": {"name": "digits", "augment": []},
    "optim": {"name": "sgd", "momentum": 0.9},
    "schedule": {"name": "cosine", "final": 0.0},
    "probe": {"name": "default", "every": 100},
    "lr": 0.1,
    "seed": 0,
    "log_every": 10,
    "name": None,
}

OF_NORM = {"bn": {"momentum": 0.1}, "gn": {"groups": 4}}


def make_run(
    folder: Path,
    *,
    norm: str = "none",
    accuracy: float | None = 0.9,
    state: str = "completed",
    name: str | None = None,
    error: str | None = None,
    metrics: dict[str, float | None] | None = None,
    status: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Make a run directory in `folder`, named by norm, lr and seed. config: keys of CONFIG; norm__eps stands for norm.eps."""
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in CONFIG.items()}
    tree["norm"] |= {"name": norm, **OF_NORM.get(norm, {})}
    for key, value in config.items():
        group, dot, last = key.partition("__")
        if dot:
            tree[group][last] = value
        elif isinstance(tree.get(key), dict):
            tree[key]["name"] = value
        else:
            tree[key] = value
    directory = folder / (name or f"norm={norm}_lr={tree['lr']}_seed={tree['seed']}")
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    final = {"train/loss": 0.5, "val/accuracy": accuracy}
    if state in ("completed", "diverged") and accuracy is not None:
        final["test/accuracy"] = accuracy
    values: dict[str, Any] = {"state": state, "error": error, "metrics": final if metrics is None else metrics}
    times = {"seconds": 1.5, "started": "2026-01-02T03:04:05+00:00"}
    rundir.write_status(directory, step=60, total_steps=60, **times, **values)
    if status:
        written = json.loads((directory / "status.json").read_text())
        (directory / "status.json").write_text(json.dumps(written | status))
    return directory


def make_sweep(folder: Path, values: dict[tuple[str, float], list[float | None]]) -> Path:
    """Make a sweep over norm and lr. values: the accuracy of every seed; None for a diverged run."""
    for (norm, lr), accuracies in values.items():
        for seed, accuracy in enumerate(accuracies):
            state = "diverged" if accuracy is None else "completed"
            make_run(folder, norm=norm, lr=lr, seed=seed, accuracy=accuracy, state=state)
    return folder


def said(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `normexp report`."""
    code = main(["report", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def shown(width: int = 80, *, color: bool = False, **options: Any) -> str:
    """The tables of the runs in the folder `runs` on a terminal."""
    console = Console(width=width, force_terminal=color, color_system="truecolor" if color else None)
    with console.capture() as capture:
        terminal.show(console, read([Path("runs")]), command="normexp report runs", **options)
    return capture.get()


def write_metrics(directory: Path, lines: list[Any]) -> None:
    """Write metrics.jsonl. Strings are written as they are."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (directory / "metrics.jsonl").write_text(text)
