"""Cost of probing: step time, memory and event file size, relative to training without probes.

    python scripts/bench/probes.py [--data-dir DIR] [--repeats N] [--threads N ...] [--json FILE] [--quick]

All sides of a comparison alternate in one process. Each repeat builds a network with the same weights, and all sinks write to
a temporary run directory. Evaluations are excluded, and the drawing of histogram sheets that follows them is timed separately.
Prints medians of paired ratios and their quartiles. `naive` is the usual approach: hooks on every activation, and
SummaryWriter.add_histogram of all their inputs, outputs and all gradients. Memory is the peak, since training began, of a
process that only trains.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import torch
from harness import all_sinks, cache_data, no_evaluation
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from normexp.compose.compose import compose
from normexp.config import Config
from normexp.data import sizes
from normexp.models.layer import named_layers
from normexp.plotting.density import History
from normexp.plotting.sheet import Sheet, draw_sheets
from normexp.probes.base import is_due
from normexp.probes.distribution import Distributions
from normexp.sinks.histogram_sheet import HistogramSheet
from normexp.training.build import build
from normexp.training.state import Point
from normexp.training.trainer import Trainer

NETS = {
    "mlp 784-100x3 MNIST, batch 60": ["model=mlp", "data=mnist", "batch_size=60"],
    "cnn MNIST, batch 128": ["data=mnist", "batch_size=128"],
    "resnet 20 CIFAR-10, batch 128": ["model=resnet", "data=cifar10", "data.verify=false", "batch_size=128"],
}
OFF = ["probe='off'"]
LENGTHS = {"mlp": (800, 20), "cnn": (100, 10), "resnet": (8, 4)}
"""Steps of a measured run, and steps between its snapshots.

Snapshots are more frequent than by default, so that their cost exceeds the noise. The ratio is scaled to a default run.
"""


def snapshots_per_step(config: Config) -> float:
    """Of a run of the default length, the early ones included."""
    total, probe = sizes(config).total_steps, config.probe
    return sum(is_due(step, total, probe.every, probe.early) for step in range(1, total + 1)) / total


def train(config: Config, folder: Path) -> float:
    """Seconds of training with all sinks, including the snapshots of the first and the last step."""
    parts = build(config)
    with all_sinks(parts, config, folder) as sinks, no_evaluation():
        for sink in sinks.by_name.values():
            if isinstance(sink, HistogramSheet):
                sink.draw = lambda: None  # type: ignore[method-assign]
        start = time.perf_counter()
        Trainer(parts, config, log=sinks.log).train()
        return time.perf_counter() - start


def train_naively(config: Config, folder: Path) -> float:
    """Seconds of the same steps, each of which logs the input and output of every activation and every gradient."""
    parts = build(config)
    writer, recorded = SummaryWriter(str(folder)), dict[str, Tensor]()

    def record(tag: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            recorded[f"{tag}/in"], recorded[f"{tag}/out"] = inputs[0].detach(), output.detach()

        return hook

    for name, layer in named_layers(parts.model).items():
        for part, module in layer.named_children():
            if part == "activation":
                module.register_forward_hook(record(f"{name}/{part}"))
    model, order = parts.model.train(), torch.randperm(len(parts.data.train)).split(config.batch_size)
    start = time.perf_counter()
    for step in range(parts.sizes.total_steps):
        inputs, labels = parts.data.train.batch(order[step], parts.augment)
        loss = F.cross_entropy(model(inputs), labels)
        parts.optimizer.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            writer.add_histogram(f"gradient/{name}", parameter.grad, step)
        parts.optimizer.step()
        for tag, values in recorded.items():
            writer.add_histogram(tag, values, step)
    seconds = time.perf_counter() - start
    writer.close()
    return seconds


Side = Callable[[Path], float]
Results = dict[str, dict[str, Any]]


def ratios(sides: Sequence[Side], repeats: int) -> list[list[float]]:
    """For each side but the first, its times divided by the first side's."""

    def in_temporary_folder(side: Side) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return side(Path(folder))

    rounds = measuring.alternate([partial(in_temporary_folder, side) for side in sides], repeats)
    return [[times[i] / times[0] for times in rounds] for i in range(1, len(sides))]


def peak_mib(overrides: list[str]) -> float:
    """MiB at the peak of a process that trains."""
    command = [sys.executable, __file__, "--measure-memory", *overrides]
    # Return freed memory at once. What the allocator keeps for later varies by 7 % between runs.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def print_peak_mib(overrides: list[str]) -> None:
    """Print the peak since the data was loaded, as loading takes more memory than small networks (Linux)."""
    validate = Trainer.validate

    def reset_peak(trainer: Trainer) -> tuple[dict[str, float | None], Point]:
        Path("/proc/self/clear_refs").write_text("5")
        Trainer.validate = validate  # type: ignore[method-assign]
        return validate(trainer)

    Trainer.validate = reset_peak  # type: ignore[assignment, method-assign]
    with tempfile.TemporaryDirectory() as folder:
        train(compose(overrides), Path(folder))
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak) / 1024)


def event_megabytes(overrides: list[str]) -> float:
    """Size of a run's event file in MB (10^6 bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        train(compose(overrides), Path(folder))
        (path,) = Path(folder).glob("events.*")
        return path.stat().st_size / 1e6


def sheet_milliseconds() -> float:
    """Time to draw the inputs and outputs of three layers at 25 snapshots."""
    describe, history, times = Distributions(), History(), []
    for step in range(0, 2500, 100):
        history.add(step, describe({"x": torch.randn(4096).numpy()})["x"].histogram)
    for _ in range(9):
        start = time.perf_counter()
        histories = {f"fc{i}": {"activation_in": history, "activation_out": history} for i in (1, 2, 3)}
        draw_sheets([Sheet("run", "norm=bn", histories)])
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def measure_steps(nets: Mapping[str, list[str]], data: str, *, repeats: int, threads: Sequence[int]) -> Results:
    """Print ratios of step times for the default probes and, with the second network, for all probes at every step."""
    title = "A training step with probes over one without"
    table = Table("network", "threads", "probes", "ratio", "quartiles", title=title)
    results: Results = {}

    def add_row(net: str, count: int, probes: str, values: list[float]) -> None:
        low, ratio, high = measuring.quartiles(values)
        table.add_row(net, str(count), probes, f"{ratio:.3f}", f"{low:.3f} to {high:.3f}")
        print(f"{net}, {count} threads, {probes}: {ratio:.3f}", file=sys.stderr, flush=True)
        results[f"{net}, {count} threads, {probes}"] = {"ratio": ratio, "quartiles": [low, high]}

    for net, overrides in nets.items():
        for count in threads:
            steps, every = LENGTHS[net.split()[0]]
            base = [*overrides, data, f"threads={count}", f"steps={steps}"]
            probed = [*base, f"probe.every={every}", "probe.early=0"]
            (measured,) = ratios([_side(train, [*base, *OFF]), _side(train, probed)], repeats)
            scale = steps * snapshots_per_step(compose([*overrides, data])) / (1 + steps // every)
            add_row(net, count, "default", [1 + (ratio - 1) * scale for ratio in measured])
    net, overrides = list(NETS.items())[1]
    for count in threads:
        base = [*overrides, data, f"threads={count}", "steps=20"]
        sides = [
            _side(train, [*base, *OFF]),
            _side(train, [*base, "probe=full", "probe.every=1"]),
            _side(train_naively, [*base, *OFF]),
        ]
        full, naive = ratios(sides, repeats)
        add_row(net, count, "full, every 1", full)
        add_row(net, count, "naive, every 1", naive)
    Console().print(table)
    return results


def measure_memory(nets: Mapping[str, list[str]], data: str) -> Results:
    table = Table("network", "steps", "probes off, MiB", "default, MiB", "ratio", title="Peak memory of the process")
    results: Results = {}
    for net, overrides in nets.items():
        for steps in (5,) if "resnet" in net else (200, 800):
            base = [*overrides, data, f"steps={steps}"]
            off, on = (
                statistics.median(peak_mib([*base, *more]) for _ in range(3)) for more in (OFF, ["probe.every=5"])
            )
            table.add_row(net, str(steps), f"{off:.0f}", f"{on:.0f}", f"{on / off:.3f}")
            results[f"{net}, memory, {steps} steps"] = {"off_mib": off, "default_mib": on}
    Console().print(table)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("NORMEXP_DATA_DIR", "data"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="without the resnet")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure-memory", nargs="+", help=argparse.SUPPRESS)
    arguments = measuring.parse(parser)
    if arguments.measure_memory:
        print_peak_mib(arguments.measure_memory)
        return
    cache_data()
    nets = dict(list(NETS.items())[:2]) if arguments.quick else NETS
    data = f"data_dir={arguments.data_dir}"
    results = measure_steps(nets, data, repeats=arguments.repeats, threads=arguments.threads)
    results |= measure_memory(nets, data)

    net = list(nets)[-1]
    small = ["model.width=4"] if "resnet" in net else []  # the size depends on the number of layers, not on their width
    # As many snapshots, log entries and evaluations as 10,000 default steps, in 1,000 steps.
    dense = ["batch_size=8", "steps=1000", "probe.every=10", "log_every=1"]
    size = event_megabytes([*nets[net], *small, data, *dense])
    Console().print(f"Event file of {net}, 10,000 steps by default: {size:.1f} MB")
    results[f"{net}, event file of 10,000 steps"] = {"megabytes": size}

    sheet = sheet_milliseconds()
    Console().print(f"Drawing the sheet of 3 layers, at each evaluation: {sheet:.0f} ms")
    results["sheet of 3 layers"] = {"milliseconds": sheet}
    if arguments.json:
        machine = {"torch": torch.__version__, "cpus": os.cpu_count()}
        measuring.write_json(arguments.json, {"machine": machine, "results": results})


def _side(run: Callable[[Config, Path], float], overrides: list[str]) -> Side:
    return partial(run, compose(overrides))


if __name__ == "__main__":
    main()
