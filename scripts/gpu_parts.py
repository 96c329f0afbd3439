"""The parts of scripts/gpu_check.py, each of which runs in a process of its own:

    python scripts/gpu_parts.py PART --device cpu|cuda --seconds N --results FILE [--quick]

A part appends one JSON object for each result to the file. It starts nothing new once its seconds are over.
"""

import argparse
import dataclasses
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from same_runs import differences, numbers, same
from torch.nn import functional as F

from normexp import rundir
from normexp.compose.compose import compose
from normexp.config import Config, ConfigError, ScheduleConfig
from normexp.models import MODELS
from normexp.models.layer import build_model
from normexp.norms import NORMS
from normexp.optim.optimizers import OPTIMIZERS
from normexp.records import Record
from normexp.training import checkpoint, trainer
from normexp.training.build import build, choose_device, memory_format
from normexp.training.precision import Precision, compiled, set_precision
from normexp.training.run import Result, run
from normexp.training.state import Stopwatch, TrainState

sys.path.append(str(Path(__file__).with_name("bench")))
import loop

Device = Literal["cpu", "cuda"]
Amp = Literal["bf16", "fp16"] | None

SHORT = ["steps=12", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5"]

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
"""Runs on digits that must come out the same to the last bit."""

QUICK_RUNS = ("mlp, none, adam, dropout", "cnn, gn, bf16")

SMALL = {
    "mlp": ["model.depth=2", "model.width=32"],
    "cnn": ["model.channels=[8,16]"],
    "resnet": ["model.depth=8", "model.width=4"],
}
"""Networks to compare with those on the CPU; a model that is not here is as large as by default."""

BOUNDS: dict[Amp, dict[str, float]] = {
    None: {"first loss": 1e-4, "first gradient": 1e-3, "last loss": 0.02},
    "bf16": {"first loss": 0.02, "first gradient": 0.1, "last loss": 0.1},
    "fp16": {"first loss": 0.01, "first gradient": 0.1, "last loss": 0.1},
}
"""Relative differences from the CPU in float32, by the run's amp. The two add up in different orders, and training makes small
differences large, so the last of five losses has a wider bound."""

PROBE_BOUNDS = {"rel": 0.02, "abs": 5e-3}
"""For what probes report on the first step. A few sampled values may be on the other side of a threshold."""


@dataclass
class Part:
    """How a part runs, and where its results go. deadline: by time.monotonic()."""

    device: Device
    quick: bool
    deadline: float
    results: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, what: str, state: str, detail: str = "", *, value: float | None = None, unit: str = "") -> None:
        """Write a result down at once. state: ok, failed, measured or left out."""
        row = {"what": what, "state": state, "value": value, "unit": unit, "detail": detail}
        self.rows.append(row)
        with self.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if state == "failed":
            print(f"{what}: {detail}", file=sys.stderr, flush=True)

    def attempt(self, what: str, work: Callable[[], object]) -> None:
        """Do the work, which tells its own results. An error in it is a result, too, and doesn't end the part."""
        if time.monotonic() > self.deadline:
            self.tell(what, "left out", "the part's time was over")
            return
        try:
            work()
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            self.tell(what, "failed", f"{type(error).__name__}: {lines[0][:200]}")


# ---- the device's limits


def measure_device(part: Part) -> None:
    """Name, memory, matrix products a second in each precision, memory bandwidth, and the cost of a launch."""
    device = torch.device(part.device)
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        capability = f"compute capability {about.major}.{about.minor}, {about.multi_processor_count} multiprocessors"
        cudnn: int | None = torch.backends.cudnn.version()
        versions = f"CUDA {torch.version.cuda}, cuDNN {cudnn}, torch {torch.__version__}"
        part.tell(about.name, "measured", f"{capability}; {versions}", value=about.total_memory / 2**30, unit="GiB")
    else:
        part.tell("cpu", "measured", f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    size = 256 if part.quick else 8192
    kinds = {
        "float32": (torch.float32, "highest"),
        "TF32": (torch.float32, "high"),
        "bf16": (torch.bfloat16, "highest"),
        "fp16": (torch.float16, "highest"),
    }
    for name, (dtype, precision) in kinds.items():
        part.attempt(f"matmul {name}", partial(_measure_matmul, part, name, size, dtype, precision))
    part.attempt("memory bandwidth", partial(_measure_bandwidth, part, 2**18 if part.quick else 2**28))
    part.attempt("launch", partial(_measure_launch, part))


def _measure_matmul(part: Part, name: str, size: int, dtype: torch.dtype, precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    a, b = (torch.randn(size, size, device=part.device).to(dtype) for _ in range(2))
    seconds = seconds_a_call(lambda: a @ b, part)
    part.tell(f"matmul {name}", "measured", f"{size} x {size}", value=2 * size**3 / seconds / 1e12, unit="TFLOP/s")


def _measure_bandwidth(part: Part, count: int) -> None:
    source = torch.randn(count, device=part.device)
    target = torch.empty_like(source)
    seconds = seconds_a_call(lambda: target.copy_(source), part)
    detail = f"copying {4 * count / 2**20:g} MiB; bytes read and written"
    part.tell("memory bandwidth", "measured", detail, value=8 * count / seconds / 1e9, unit="GB/s")


def _measure_launch(part: Part) -> None:
    one = torch.zeros(1, device=part.device)
    seconds = seconds_a_call(lambda: one.add_(1), part)
    part.tell("launch", "measured", "adding to one number", value=1e6 * seconds, unit="us")


def seconds_a_call(call: Callable[[], object], part: Part) -> float:
    """Seconds of a call: the median over five blocks, after two calls to warm up."""
    for _ in range(2):
        call()
    block = 0.002 if part.quick else 0.05
    count = max(1, math.ceil(block / max(1e-9, _seconds(call, part, 1))))
    return statistics.median(_seconds(call, part, count) / count for _ in range(1 if part.quick else 5))


def _seconds(call: Callable[[], object], part: Part, count: int) -> float:
    _wait(part)
    start = time.perf_counter()
    for _ in range(count):
        call()
    _wait(part)
    return time.perf_counter() - start


def _wait(part: Part) -> None:
    if part.device == "cuda":
        torch.cuda.synchronize()


# ---- the same to the last bit


def check_determinism(part: Part) -> None:
    """Each run twice, in two processes that share no compiled code: they differ in nothing but the clock."""
    with tempfile.TemporaryDirectory() as temporary:
        here, there = Path(temporary) / "here", Path(temporary) / "there"
        words = [sys.executable, __file__, "runs", f"--device={part.device}", f"--folder={there}"]
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(Path(temporary) / "cache")}
        seconds = max(1.0, part.deadline - time.monotonic())
        with subprocess.Popen([*words, f"--seconds={seconds}", *["--quick"] * part.quick], env=environment) as other:
            for case in _runs(part):
                part.attempt(case, partial(_train, RUNS[case], here / _slug(case), part.device))
            other.wait()
        for case in _runs(part):
            if (here / _slug(case)).exists():
                part.attempt(case, partial(_compare_runs, part, case, here / _slug(case), there / _slug(case)))


def train_runs(part: Part, folder: Path) -> None:
    """The second process of `check_determinism`."""
    for case in _runs(part):
        part.attempt(case, partial(_train, RUNS[case], folder / _slug(case), part.device))


def check_resume(part: Part) -> None:
    """Each run once as a whole and once stopped after 8 of 12 steps and resumed: they differ in nothing but the clock."""
    for case in _runs(part):
        part.attempt(case, partial(_resume, part, case))


def _resume(part: Part, case: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        whole, stopped = Path(temporary) / "whole", Path(temporary) / "stopped"
        _train(RUNS[case], whole, part.device)
        with _stopping_in(8):
            result = _train(RUNS[case], stopped, part.device, ends="interrupted")
        config = _config(RUNS[case], part.device)
        saved, _ = checkpoint.newest(result.directory, config)
        assert saved is not None
        _run(config, lambda files: rundir.refill(result.directory, files, saved["step"]), saved)
        _compare_runs(part, case, whole, stopped)


def _compare_runs(part: Part, case: str, one: Path, two: Path) -> None:
    found = differences(one / "run", two / "run")
    part.tell(case, "failed" if found else "ok", "; ".join(found)[:300])


def _runs(part: Part) -> Sequence[str]:
    return QUICK_RUNS if part.quick else list(RUNS)


def _slug(case: str) -> str:
    return case.replace(", ", "-").replace(" ", "-")


def _config(overrides: Sequence[str], device: str) -> Config:
    return compose([*SHORT, *overrides, f"device={device}"])


def _train(overrides: Sequence[str], folder: Path, device: str, *, ends: str = "completed") -> Result:
    config = _config(overrides, device)
    folder.mkdir(parents=True)
    result = _run(config, lambda files: rundir.create(folder, "run", files))
    assert result.state == ends, f"the run {result.state}: {result.error}"
    return result


def _run(config: Config, make: Callable[[Mapping[str, str]], Path], saved: Mapping[str, Any] | None = None) -> Result:
    return run(config, make_directory=make, diff={}, command=["gpu_check"], console=Console(quiet=True), saved=saved)


@contextmanager
def _stopping_in(stop: int) -> Iterator[None]:
    """Send this process SIGTERM in a training step, which ends the run after it."""
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


# ---- against the CPU


def check_combinations(part: Part, *, compiles: bool) -> None:
    """Five steps of every model with every norm and amp against the same on the CPU in float32, within BOUNDS."""
    norms = ("none", "gn") if part.quick else tuple(NORMS)
    amps: list[Amp] = [None, "bf16"] if part.quick or compiles else [*BOUNDS]
    pairs = list(product(norms, MODELS))
    if part.quick and compiles:  # a compilation takes seconds
        pairs, amps = [("gn", "mlp")], [None]
    for norm, model in pairs:
        words = [f"model={model}", f"norm={norm}", *SMALL.get(model, []), "steps=5", "lr=0.01", "log_every=1"]
        try:
            config = compose([*words, "data.train_size=200", "probe=off", "eval_every=5", "device=cpu"])
        except ConfigError:  # a norm that is not defined in this model
            continue
        expected: list[Record] = []
        for amp in amps:
            what = ", ".join(filter(None, [model, norm, amp or "float32", "compiled" if compiles else ""]))
            here = dataclasses.replace(config, device=part.device, amp=amp, compile=compiles)
            part.attempt(what, partial(_compare_losses, part, what, config, here, expected))


def _compare_losses(part: Part, what: str, on_cpu: Config, here: Config, expected: list[Record]) -> None:
    """expected: the records on the CPU, which the first comparison fills."""
    expected[:] = expected or _records(on_cpu)
    told, known = _landmarks(_records(here)), _landmarks(expected)
    bounds = BOUNDS[here.amp]
    apart = {name: abs(told[name] - known[name]) / abs(known[name]) for name in bounds}
    worst = max(apart, key=lambda name: apart[name] / bounds[name])
    share = apart[worst] / bounds[worst]
    detail = f"{worst}: {told[worst]:.6g}, on the CPU {known[worst]:.6g}, at most {bounds[worst]:g} apart"
    part.tell(what, "ok" if share <= 1 else "failed", detail, value=share, unit="of the bound")


def _landmarks(records: Sequence[Record]) -> dict[str, float]:
    losses = [value for record in records if (value := record.scalars.get("train/loss")) is not None]
    gradients = [value for record in records if (value := record.scalars.get("grad_norm/total")) is not None]
    return {"first loss": losses[0], "first gradient": gradients[0], "last loss": losses[-1]}


def _records(config: Config) -> list[Record]:
    """What a run logs, without its files."""
    parts, records = build(config), list[Record]()
    course = TrainState(parts.sizes.total_steps, Stopwatch(parts.device))
    outcome = trainer.fit(parts, config, course, log=records.append, interrupted=lambda: False)
    assert outcome.state == "completed", f"the run {outcome.state}: {outcome.error}"
    return records


def check_probes(part: Part) -> None:
    """What all probes say of the first step, and which tags later steps have, against the same on the CPU."""
    cases = {"cnn, bn": ["norm=bn"], "cnn, gn, post, gelu": ["norm=gn", "norm.position=post", "activation=gelu"]}
    if not part.quick:
        cases |= {"mlp, ln, sigmoid": ["model=mlp", "norm=ln", "activation=sigmoid"], "cnn, in": ["norm=in"]}
        cases |= {"resnet, bn": ["model=resnet", "model.depth=8"]}
    for case, overrides in cases.items():
        part.attempt(case, partial(_compare_probes, part, case, overrides))


def _compare_probes(part: Part, case: str, overrides: Sequence[str]) -> None:
    words = [*overrides, "probe=full", "probe.landscape=true", "probe.jumps=true", "probe.every=2", "steps=4"]
    words += ["probe.landscape_steps=[1]", "probe.samples=2048", "data.train_size=200", "log_every=2", "device=cpu"]
    config = compose(words)
    expected, found = _records(config), _records(dataclasses.replace(config, device=part.device))
    assert [[*record.scalars] for record in found] == [[*record.scalars] for record in expected], "other tags"
    first = {tag: (value, found[0].scalars[tag]) for tag, value in expected[0].scalars.items()}
    apart = {tag: _apart(*pair) for tag, pair in first.items()}
    worst = max(apart, key=lambda tag: apart[tag])
    detail = f"{len(apart)} numbers; {worst}: {first[worst][1]}, on the CPU {first[worst][0]}"
    part.tell(case, "ok" if apart[worst] <= 1 else "failed", detail, value=apart[worst], unit="of the bound")


def _apart(one: float | None, two: float | None) -> float:
    """Their difference as a share of what PROBE_BOUNDS allow; infinite if only one of them is a number."""
    if one is None or two is None:
        return 0.0 if one is two else math.inf
    return abs(one - two) / (PROBE_BOUNDS["abs"] + PROBE_BOUNDS["rel"] * abs(one))


# ---- a sweep


def check_sweep(part: Part) -> None:
    """A sweep of 8 runs with the default number of jobs (one per GPU), and again with 4 that share the GPU."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {}
        for name, more in {"default jobs": [], "4 jobs": ["jobs=4"]}.items():
            if not part.quick or more:
                folder = folders[name] = Path(temporary) / _slug(name)
                part.attempt(f"8 runs, {name}", partial(_sweep, part, name, folder, more))
        if len(folders) == 2:
            part.attempt("8 runs, the same either way", partial(_compare_sweeps, part, *folders.values()))


def _sweep(part: Part, name: str, folder: Path, more: Sequence[str]) -> None:
    words = ["normexp", "train", "-m", "seed=0,1" if part.quick else "seed=0,1,2,3", "norm=bn,gn", *SHORT]
    words += [f"device={part.device}", f"name={folder.name}", f"runs_dir={folder.parent}", *more]
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    states = [rundir.read_status(path.parent)["state"] for path in sorted(folder.glob("*/status.json"))]
    good = done.returncode == 0 and states == ["completed"] * (4 if part.quick else 8)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
    detail = "" if good else f"exit code {done.returncode}, {states}: {' | '.join(lines)}"
    part.tell(f"8 runs, {name}", "ok" if good else "failed", detail, value=seconds, unit="s")


def _compare_sweeps(part: Part, one: Path, two: Path) -> None:
    names = sorted(path.parent.name for path in one.glob("*/status.json"))
    differ = [name for name in names if not _same_results(one / name, two / name)]
    part.tell("8 runs, the same either way", "failed" if differ or not names else "ok", ", ".join(differ)[:300])


def _same_results(one: Path, two: Path) -> bool:
    """Whether metrics and weights are the same to the last bit. Other files have the name of the sweep."""
    weights = [checkpoint.load(folder / checkpoint.NAME)["model"] for folder in (one, two)]
    return numbers(one) == numbers(two) and same(*weights)


# ---- timings


def measure_loop(part: Part) -> None:
    """A training step with all sinks and probes over that of a bare loop (scripts/bench/loop.py), on digits."""
    loop.quick_build()
    cases = {
        "mlp 100x3, batch 64": ["model=mlp"],
        "cnn, batch 64": [],
        "cnn, batch 512": ["batch_size=512"],
        "resnet 20, batch 128": ["model=resnet", "batch_size=128"],
    }
    for what, overrides in cases.items():
        part.attempt(what, partial(_measure_loop, part, what, overrides))


def _measure_loop(part: Part, what: str, overrides: list[str]) -> None:
    case = loop.Case(overrides, block=50, repeats=5)
    row = loop.measure(what, case, data_dir="data", device=part.device, repeats=None, quick=part.quick)
    detail = ", ".join(f"{name} {value:.4g}" for name, value in row.more.items() if not isinstance(value, str))
    part.tell(what, "measured", detail, value=statistics.median(row.values), unit="of a bare loop")


PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"amp": None, "matmul_precision": "highest"},
    "TF32": {"amp": None, "matmul_precision": "high"},
    "bf16": {"amp": "bf16", "matmul_precision": "highest"},
}

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def measure_throughput(part: Part, *, compiles: bool) -> None:
    """Images a second of a training step on random images of CIFAR-10's shape, with batch norm."""
    sizes = (8,) if part.quick else (512, 128, 2048)
    precisions = ("bf16",) if part.quick else tuple(PRECISIONS)
    models = ("cnn",) if part.quick and compiles else ("cnn", "resnet")
    for size, model, precision in product(sizes, models, precisions):
        what = f"{_title(model)}, batch {size}, {precision}" + ", compiled" * compiles
        config = _speed_config(part, model, "bn", precision, size)
        part.attempt(what, partial(_measure_rate, part, what, dataclasses.replace(config, compile=compiles), None))


def measure_formats(part: Part) -> None:
    """The same for every norm in both memory formats; which of them normexp takes is marked."""
    norms = ("gn",) if part.quick else ("gn", "in", "ln", "bn", "none")
    precisions = ("float32",) if part.quick else tuple(PRECISIONS)
    size = 8 if part.quick else 512
    for norm, model, precision, layout in product(norms, ("cnn", "resnet"), precisions, FORMATS):
        what = f"{_title(model)}, {norm}, batch {size}, {precision}, {layout}"
        config = _speed_config(part, model, norm, precision, size)
        part.attempt(what, partial(_measure_rate, part, what, config, FORMATS[layout]))


def _title(model: str) -> str:
    return {"resnet": "resnet 20"}.get(model, model)


def _speed_config(part: Part, model: str, norm: str, precision: str, batch_size: int) -> Config:
    small = SMALL[model] if part.quick else []
    config = compose([f"model={model}", f"norm={norm}", "data=cifar10", "threads=null", *small])
    return dataclasses.replace(config, device=part.device, batch_size=batch_size, **PRECISIONS[precision])


def _measure_rate(part: Part, what: str, config: Config, layout: torch.memory_format | None) -> None:
    """layout: None for the one that normexp takes."""
    device = choose_device(config.device)
    set_precision(config, device)
    model, arithmetic = build_model(config).to(device), Precision(config, device)
    own = memory_format(model, device)
    model = model.to(memory_format=layout or own)  # type: ignore[call-overload]
    images = torch.randn(config.batch_size, 3, 32, 32, device=device)
    labels = torch.randint(10, (config.batch_size,), device=device)
    start = time.monotonic()
    forward = compiled(model, images, arithmetic) if config.compile else model
    compiling = time.monotonic() - start
    _, make = OPTIMIZERS[config.optim.name]
    optimizer, parameters = make(model.parameters(), config.optim, 1e-4), list(model.parameters())
    arithmetic.prepare(optimizer)

    def step() -> None:
        for parameter in parameters:
            parameter.grad = None
        with arithmetic.autocast():
            loss = F.cross_entropy(forward(images), labels)
        arithmetic.backward(loss, optimizer)
        arithmetic.update(optimizer)

    seconds = seconds_a_call(step, part)
    detail = f"{1e3 * seconds:.3f} ms a step"
    detail += f", compiled in {compiling:.0f} s" if config.compile else ""
    detail += ", normexp's choice" if layout == own else ""
    part.tell(what, "measured", detail, value=config.batch_size / seconds, unit="images/s")


PARTS: dict[str, Callable[[Part], None]] = {
    "device": measure_device,
    "determinism": check_determinism,
    "resume": check_resume,
    "combinations": partial(check_combinations, compiles=False),
    "probes": check_probes,
    "sweep": check_sweep,
    "loop": measure_loop,
    "throughput": partial(measure_throughput, compiles=False),
    "formats": measure_formats,
    "compiled combinations": partial(check_combinations, compiles=True),
    "compiled throughput": partial(measure_throughput, compiles=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "runs"])
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--results", type=Path, default=Path(os.devnull))
    parser.add_argument("--folder", type=Path, help="where the part `runs` trains")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    part = Part(arguments.device, arguments.quick, time.monotonic() + arguments.seconds, arguments.results)
    if arguments.part == "runs":
        train_runs(part, arguments.folder)
    else:
        PARTS[arguments.part](part)


if __name__ == "__main__":
    main()
