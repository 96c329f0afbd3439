"""debug=profile: where the time of a training step goes."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.autograd import DeviceType
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile, schedule

from normexp.models.layer import named_layers
from normexp.rundir import atomic

TRACE, TABLE = "profile.pt.trace.json.gz", "profile.txt"

WAIT, ACTIVE = 10, 20
"""Steps in front of those that are recorded, the last of which warms up the profiler; and steps that are recorded."""

REGIONS = ("batch", "forward", "backward", "update", "look", "log", "evaluate")
"""What a step consists of, as the training loop names it."""


class Unprofiled:
    """Names for the parts of a step, which nobody writes down."""

    _nothing = nullcontext()

    def step(self) -> None:
        """A training step begins."""

    def region(self, name: str) -> AbstractContextManager[Any]:
        """The context of a part of a step."""
        return self._nothing


class Profiled(Unprofiled):
    """Names that stand in the profiler's trace."""

    def __init__(self, profiler: profile) -> None:
        self._profiler, self._begun = profiler, False

    def step(self) -> None:
        if self._begun:
            self._profiler.step()
        self._begun = True

    def region(self, name: str) -> AbstractContextManager[Any]:
        return record_function(name)


@contextmanager
def profiling(model: nn.Module, directory: Path) -> Iterator[Profiled]:
    """What the training loop tells the profiler.

    The trace (Chrome's format, which ui.perfetto.dev opens, with each layer's forward pass by its name), and the operations and
    regions as a table, are in the directory as soon as the steps are over. Raises WriteError.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it prints lines of its own
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    plan = schedule(wait=WAIT - 1, warmup=1, active=ACTIVE, repeat=1)
    hooks = [hook for name, layer in named_layers(model).items() for hook in _named(name, layer)]
    try:
        with profile(
            activities=activities,
            schedule=plan,
            on_trace_ready=partial(_write, directory),
            record_shapes=True,
        ) as profiler:
            yield Profiled(profiler)
    finally:
        for hook in hooks:
            hook.remove()


def _named(name: str, layer: nn.Module) -> list[Any]:
    """Hooks that give a layer's forward pass its name in the trace."""
    open_regions: list[record_function] = []

    def begin(_: nn.Module, inputs: object) -> None:
        open_regions.append(record_function(name))
        open_regions[-1].__enter__()

    def end(_: nn.Module, inputs: object, output: object) -> None:
        open_regions.pop().__exit__(None, None, None)

    return [layer.register_forward_pre_hook(begin), layer.register_forward_hook(end, always_call=True)]


def _write(directory: Path, profiler: profile) -> None:
    averages = profiler.key_averages()
    on_cpu = [
        event for event in averages if event.device_type == DeviceType.CPU
    ]  # regions stand there for the GPU, too
    times = {event.key: event.cpu_time_total / 1e3 for event in on_cpu}
    steps = max(1, sum(event.count for event in on_cpu if event.key.startswith("ProfilerStep")))
    total = sum(times.get(region, 0.0) for region in REGIONS) or 1.0
    lines = [f"{steps} steps, {total / steps:.2f} ms of CPU time each, in regions of the training loop:"]
    lines += [f"{region:10}{times.get(region, 0.0) / total:6.1%}" for region in REGIONS]
    table = averages.table(sort_by="self_cpu_time_total", row_limit=40, max_name_column_width=40)
    atomic.write_text(directory / TABLE, "\n".join(lines) + "\n\n" + table)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        atomic.write_bytes(directory / TRACE, gzip.compress(trace.read_bytes(), compresslevel=6))


def shares(directory: Path) -> str | None:
    """The time of each region of a step in a run's profile, for people; None where there is none."""
    try:
        lines = (directory / TABLE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines[1 : 1 + len(REGIONS)]]
    return "  ".join(f"{name} {share}" for name, share in found)
