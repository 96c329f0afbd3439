"""What looking into a network costs: time a step, memory and event file, beside training without any look.

    python scripts/bench/probes.py [--data-dir DIR] [--repeats N] [--threads N ...] [--json FILE] [--quick]

All sides of a comparison run in one process, by turns, each repeat on a network of its own with the same weights, with all
sinks writing to a run directory that is thrown away; evaluations are left out, and the pictures drawn at them are timed apart.
Printed are medians of paired ratios and their quartiles. `naive` is the usual way: hooks on every activation, and
SummaryWriter.add_histogram of all values that enter and leave it and of all gradients. Memory is the most that a process which
only trains has used since the training began.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import measuring
import torch
from loop import no_evaluation, quick_build
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from normexp.compose.compose import compose
from normexp.config import Config
from normexp.models.layer import named_layers
from normexp.probes.distribution import Distributions
from normexp.records import Record
from normexp.sinks.histogram_sheet import History, Sheet, draw_sheet
from normexp.training.build import Parts, build
from normexp.training.run import about, open_sinks
from normexp.training.state import Stopwatch, TrainState
from normexp.training.trainer import fit

NETS = {
    "mlp 784-100x3 MNIST, batch 60": ["model=mlp", "data=mnist", "batch_size=60"],
    "cnn MNIST, batch 128": ["data=mnist", "batch_size=128"],
    "resnet 20 CIFAR-10, batch 128": ["model=resnet", "data=cifar10", "data.verify=false", "batch_size=128"],
}
OFF = ["probe='off'"]
CADENCE = 100
"""Steps from one look to the next by default."""

LENGTHS = {"mlp": (800, 20), "cnn": (100, 10), "resnet": (8, 4)}
"""Steps of a measured run, and those between its looks: closer than by default, so that their cost stands out from the
machine's noise. It is then scaled to the default cadence."""


def train(config: Config, folder: Path) -> float:
    """Seconds of a run's steps, with all sinks. The look of the first step is part of it, that of the last one too."""
    parts = build(config)
    with Path(os.devnull).open("w") as nowhere, no_evaluation():
        sinks = open_sinks(
            folder, about(parts, config, {}, {}), Console(file=nowhere, force_terminal=True), parts.sizes.total_steps
        )

        for sheet in (sink for sink in sinks.values() if isinstance(sink, Sheet)):
            sheet.draw = lambda: None  # type: ignore[method-assign]

        def log(record: Record) -> None:
            for sink in sinks.values():
                sink.log(record)

        course = TrainState(parts.sizes.total_steps, Stopwatch(parts.device))
        start = time.perf_counter()
        fit(parts, config, course, log=log, interrupted=lambda: False)
        seconds = time.perf_counter() - start
        for sink in sinks.values():
            sink.close(success=True)
    return seconds


def naive(config: Config, folder: Path) -> float:
    """Seconds of the same steps, with every activation's input and output and every gradient logged in each."""
    parts = build(config)
    writer, seen = SummaryWriter(str(folder)), dict[str, Tensor]()

    def keep(tag: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[f"{tag}/in"], seen[f"{tag}/out"] = inputs[0].detach(), output.detach()

        return hook

    for name, layer in named_layers(parts.model).items():
        for part, module in layer.named_children():
            if part == "activation":
                module.register_forward_hook(keep(f"{name}/{part}"))
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
        for tag, values in seen.items():
            writer.add_histogram(tag, values, step)
    seconds = time.perf_counter() - start
    writer.close()
    return seconds


Side = Callable[[Path], float]


def ratios(sides: Sequence[Side], repeats: int) -> list[list[float]]:
    """For each side but the first, its times over the first's, by turns."""
    found: list[list[float]] = [[] for _ in sides[1:]]
    for repeat in range(repeats + 1):
        order = range(len(sides)) if repeat % 2 else range(len(sides) - 1, -1, -1)
        times = {}
        for i in order:
            with tempfile.TemporaryDirectory() as folder:
                times[i] = sides[i](Path(folder))
        if repeat:  # the first round warms up
            for i, of in enumerate(found, start=1):
                of.append(times[i] / times[0])
    return found


def peak_memory(overrides: list[str]) -> float:
    """MiB at the peak of a process of its own."""
    command = [sys.executable, __file__, "--measure-memory", *overrides]
    # Freed memory goes back at once: how the allocator keeps it for later differs by 7 % from one run to the next.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def measure_memory(overrides: list[str]) -> None:
    """Print the peak since the data were loaded, which itself takes more than small networks (Linux)."""
    from normexp.training import trainer

    validation = trainer._validation

    def forget_the_peak(parts: Parts, config: Config, interrupted: Callable[[], bool]) -> dict[str, float | None]:
        Path("/proc/self/clear_refs").write_text("5")
        trainer._validation = validation
        return validation(parts, config, interrupted)

    trainer._validation = forget_the_peak
    with tempfile.TemporaryDirectory() as folder:
        train(compose(overrides), Path(folder))
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak) / 1024)


def event_megabytes(overrides: list[str]) -> float:
    """10^6 bytes of a run's event file."""
    with tempfile.TemporaryDirectory() as folder:
        train(compose(overrides), Path(folder))
        (path,) = Path(folder).glob("events.*")
        return path.stat().st_size / 1e6


def milliseconds_a_sheet() -> float:
    """To draw what enters and leaves three layers at 25 looks."""
    describe, history, times = Distributions(), History(), []
    for step in range(0, 2500, 100):
        history.add(step, describe({"x": torch.randn(4096).numpy()})["x"].histogram)
    for _ in range(9):
        start = time.perf_counter()
        draw_sheet({f"fc{i}": {"activation_in": history, "activation_out": history} for i in (1, 2, 3)})
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


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
        measure_memory(arguments.measure_memory)
        return
    quick_build()
    nets = dict(list(NETS.items())[:2]) if arguments.quick else NETS
    data = f"data_dir={arguments.data_dir}"
    table = Table(
        "network", "threads", "probes", "ratio", "quartiles", title="A training step over one without any look"
    )
    results: dict[str, object] = {}

    def row(net: str, threads: int, probes: str, values: list[float]) -> None:
        low, ratio, high = statistics.quantiles(values, n=4)
        table.add_row(net, str(threads), probes, f"{ratio:.3f}", f"{low:.3f} to {high:.3f}")
        print(f"{net}, {threads} threads, {probes}: {ratio:.3f}", file=sys.stderr, flush=True)
        results[f"{net}, {threads} threads, {probes}"] = {"ratio": ratio, "quartiles": [low, high]}

    for net, overrides in nets.items():
        for threads in arguments.threads:
            steps, every = LENGTHS[net.split()[0]]
            base = [*overrides, data, f"threads={threads}", f"steps={steps}"]
            (found,) = ratios([_side([*base, *OFF]), _side([*base, f"probe.every={every}"])], arguments.repeats)
            looks = 1 + steps // every
            row(net, threads, "default, every 100", [1 + (ratio - 1) * (steps / CADENCE) / looks for ratio in found])
    net, overrides = list(NETS.items())[1]
    for threads in arguments.threads:
        base = [*overrides, data, f"threads={threads}", "steps=20"]
        sides = [_side([*base, *OFF]), _side([*base, "probe=full", "probe.every=1"]), _naive([*base, *OFF])]
        full, usual = ratios(sides, arguments.repeats)
        row(net, threads, "full, every 1", full)
        row(net, threads, "naive, every 1", usual)
    Console().print(table)

    table = Table("network", "steps", "probes off, MiB", "default, MiB", "ratio", title="Peak memory of the process")
    for net, overrides in nets.items():
        for steps in (5,) if "resnet" in net else (200, 800):
            base = [*overrides, data, f"steps={steps}"]
            off, on = (
                statistics.median(peak_memory([*base, *more]) for _ in range(3)) for more in (OFF, ["probe.every=5"])
            )
            table.add_row(net, str(steps), f"{off:.0f}", f"{on:.0f}", f"{on / off:.3f}")
            results[f"{net}, memory, {steps} steps"] = {"off_mib": off, "default_mib": on}
    Console().print(table)

    net = list(nets)[-1]
    small = ["model.width=4"] if "resnet" in net else []  # the file's size depends on layers, not on their width
    # A tenth of the steps with ten times the looks, entries and evaluations (of an epoch of 352 steps) as 10,000 by default.
    dense = ["batch_size=8", "steps=1000", "probe.every=10", "log_every=1", "eval_every=35"]
    size = event_megabytes([*nets[net], *small, data, *dense])
    Console().print(f"Event file of {net}, 10,000 steps by default: {size:.1f} MB")
    results[f"{net}, event file of 10,000 steps"] = {"megabytes": size}

    sheet, layers = milliseconds_a_sheet(), 3
    Console().print(f"Drawing the sheet of {layers} layers, at each evaluation: {sheet:.0f} ms")
    results["sheet of 3 layers"] = {"milliseconds": sheet}
    if arguments.json:
        machine = {"torch": torch.__version__, "cpus": os.cpu_count()}
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def _side(overrides: list[str]) -> Side:
    config = compose(overrides)
    return lambda folder: train(config, folder)


def _naive(overrides: list[str]) -> Side:
    config = compose(overrides)
    return lambda folder: naive(config, folder)


if __name__ == "__main__":
    main()
