"""Checks that runs on a GPU are reproducible bit for bit: repeated, resumed, and in a sweep that shares the GPU."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parts import Part
from rich.console import Console
from same_runs import bitwise_equal, differences, metrics_without_time

from normexp import rundir
from normexp.compose.compose import compose
from normexp.config import Config, ScheduleConfig
from normexp.training import checkpoint, trainer
from normexp.training.run import Result, run

SHORT_RUN = ["steps=12", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5"]

RUNS = {
    "mlp, none, adam, dropout": ["model=mlp", "norm=none", "optim=adam", "lr=0.003", "dropout=0.1"],
    "cnn, bn, dropout, all probes": [
        "dropout=0.1",
        "probe=full",
        "probe.landscape=true",
        "probe.landscape_steps=[1,10]",
    ],
    "cnn, gn, bf16": ["norm=gn", "amp=bf16"],
    "cnn, in": ["norm=in"],
    "resnet, ln, augmented, fp16": ["model=resnet", "model.depth=8", "norm=ln", "data.augment=[crop]", "amp=fp16"],
    "resnet, bn, tf32": ["model=resnet", "model.depth=8", "matmul_precision=high"],
    "cnn, bn, dropout, compiled": ["dropout=0.1", "compile=true", "model.channels=[8,16]"],
}
"""Runs on the digits, with their overrides."""

QUICK_RUNS = ("mlp, none, adam, dropout", "cnn, gn, bf16")


def check_determinism(part: Part) -> None:
    """Train each run in two processes that share no compiled code. The results must be equal, except for times."""
    with tempfile.TemporaryDirectory() as temporary:
        here, there = Path(temporary) / "here", Path(temporary) / "there"
        script = Path(__file__).with_name("run_part.py")
        words = [sys.executable, str(script), "runs", f"--device={part.device}", f"--folder={there}"]
        words += [f"--seconds={max(1.0, part.deadline - time.monotonic())}", *["--quick"] * part.quick]
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(Path(temporary) / "cache")}
        with subprocess.Popen(words, env=environment) as other:
            train_runs(part, here)
            other.wait()
        for case in _cases(part):
            if (here / _slug(case)).exists():
                part.attempt(case, _compare_runs, part, case, here / _slug(case), there / _slug(case))


def train_runs(part: Part, folder: Path) -> None:
    """Train each run in a folder of its own."""
    for case in _cases(part):
        part.attempt(case, _train, RUNS[case], folder / _slug(case), part.device)


def check_resume(part: Part) -> None:
    """Interrupt each run after 8 of 12 steps and resume it. It must equal the uninterrupted run, except for times."""
    for case in _cases(part):
        part.attempt(case, _resume, part, case)


def check_sweep(part: Part) -> None:
    """Sweep 8 runs with the default number of jobs (one per GPU) and with 4 jobs on the GPU. Results must be equal."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {}
        for name, more in {"default jobs": [], "4 jobs": ["jobs=4"]}.items():
            if not part.quick or more:
                folder = folders[name] = Path(temporary) / _slug(name)
                part.attempt(f"8 runs, {name}", _sweep, part, name, folder, more)
        if len(folders) == 2:
            part.attempt("8 runs, the same either way", _compare_sweeps, part, *folders.values())


def run_config(overrides: Sequence[str], device: str) -> Config:
    return compose([*SHORT_RUN, *overrides, f"device={device}"])


def _cases(part: Part) -> Sequence[str]:
    return QUICK_RUNS if part.quick else list(RUNS)


def _slug(case: str) -> str:
    return case.replace(", ", "-").replace(" ", "-")


def _train(overrides: Sequence[str], folder: Path, device: str, *, state: str = "completed") -> Result:
    """Train a run in `folder`, which is created. The run must end in this state."""
    folder.mkdir(parents=True)
    result = _run(run_config(overrides, device), lambda files: rundir.create_run_directory(folder, "run", files))
    assert result.state == state, f"the run {result.state}: {result.error}"
    return result


def _run(config: Config, make: Callable[[Mapping[str, str]], Path], saved: Mapping[str, Any] | None = None) -> Result:
    return run(config, make_directory=make, diff={}, command=["gpu_check"], console=Console(quiet=True), saved=saved)


def _resume(part: Part, case: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        uninterrupted, resumed = Path(temporary) / "uninterrupted", Path(temporary) / "resumed"
        _train(RUNS[case], uninterrupted, part.device)
        with _sigterm_in_step(8):
            result = _train(RUNS[case], resumed, part.device, state="interrupted")
        config = run_config(RUNS[case], part.device)
        saved, _ = checkpoint.newest(result.directory, config)
        assert saved is not None
        _run(config, lambda files: rundir.write_resumed_files(result.directory, files, saved["step"]), saved)
        _compare_runs(part, case, uninterrupted, resumed)


@contextmanager
def _sigterm_in_step(stop: int) -> Iterator[None]:
    """Send SIGTERM to this process during a training step. The run ends after that step."""
    real = trainer.lr_factor

    def lr_factor(config: ScheduleConfig, step: int, total_steps: int) -> float:
        if step == stop - 1:
            signal.raise_signal(signal.SIGTERM)
        return real(config, step, total_steps)

    trainer.lr_factor = lr_factor
    try:
        yield
    finally:
        trainer.lr_factor = real


def _compare_runs(part: Part, case: str, one: Path, other: Path) -> None:
    lines = differences(one / "run", other / "run")
    part.record(case, "failed" if lines else "ok", "; ".join(lines)[:300])


def _sweep(part: Part, name: str, folder: Path, more: Sequence[str]) -> None:
    words = ["normexp", "train", "-m", "seed=0,1" if part.quick else "seed=0,1,2,3", "norm=bn,gn", *SHORT_RUN]
    words += [f"device={part.device}", f"name={folder.name}", f"runs_dir={folder.parent}", *more]
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    states = [rundir.read_status(path.parent)["state"] for path in sorted(folder.glob("*/status.json"))]
    ok = done.returncode == 0 and states == ["completed"] * (4 if part.quick else 8)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
    detail = "" if ok else f"exit code {done.returncode}, {states}: {' | '.join(lines)}"
    part.record(f"8 runs, {name}", "ok" if ok else "failed", detail, value=seconds, unit="s")


def _compare_sweeps(part: Part, one: Path, other: Path) -> None:
    names = sorted(path.parent.name for path in one.glob("*/status.json"))
    different = [name for name in names if not _same_results(one / name, other / name)]
    state = "failed" if different or not names else "ok"
    part.record("8 runs, the same either way", state, ", ".join(different)[:300])


def _same_results(one: Path, other: Path) -> bool:
    """Whether metrics and weights are bitwise equal. Other files contain the name of the sweep."""
    weights = [checkpoint.load(folder / checkpoint.NAME)["model"] for folder in (one, other)]
    return metrics_without_time(one) == metrics_without_time(other) and bitwise_equal(*weights)
