"""debug=profile: profile some training steps with torch.profiler."""

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
"""Steps before the recorded ones, the last of which warms up the profiler; and steps that are recorded."""

REGIONS = ("batch", "forward", "backward", "update", "look", "log", "evaluate")
"""The parts of a training step, as the training loop names them; `look` is the time of the probes."""


class NullProfiler:
    """A profiler that records nothing."""

    _null_context = nullcontext()

    def step(self) -> None:
        """Call at the start of each training step."""

    def region(self, name: str) -> AbstractContextManager[Any]:
        """The context of one of the REGIONS."""
        return self._null_context


class LoopProfiler(NullProfiler):
    """Passes steps and regions on to torch's profiler."""

    def __init__(self, profiler: profile) -> None:
        self._profiler, self._started = profiler, False

    def step(self) -> None:
        if self._started:
            self._profiler.step()
        self._started = True

    def region(self, name: str) -> AbstractContextManager[Any]:
        return record_function(name)


@contextmanager
def profiling(model: nn.Module, directory: Path) -> Iterator[LoopProfiler]:
    """Profile the training loop, which must call the yielded profiler.

    After the last recorded step, writes a trace in Chrome's format (for ui.perfetto.dev), with a named region for each layer's
    forward pass, and a table of operations and regions. Raises WriteError.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # keeps Kineto from printing
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    steps = schedule(wait=WAIT - 1, warmup=1, active=ACTIVE, repeat=1)
    write = partial(_write, directory)
    hooks = [hook for name, layer in named_layers(model).items() for hook in _name_forward_pass(name, layer)]
    try:
        with profile(activities=activities, schedule=steps, on_trace_ready=write, record_shapes=True) as profiler:
            yield LoopProfiler(profiler)
    finally:
        for hook in hooks:
            hook.remove()


def _name_forward_pass(name: str, layer: nn.Module) -> list[Any]:
    """Add hooks that record a layer's forward pass as a region; returns their handles."""
    open_regions: list[record_function] = []

    def begin(_: nn.Module, inputs: object) -> None:
        open_regions.append(record_function(name))
        open_regions[-1].__enter__()

    def end(_: nn.Module, inputs: object, output: object) -> None:
        open_regions.pop().__exit__(None, None, None)

    return [layer.register_forward_pre_hook(begin), layer.register_forward_hook(end, always_call=True)]


def _write(directory: Path, profiler: profile) -> None:
    averages = profiler.key_averages()
    on_cpu = [event for event in averages if event.device_type == DeviceType.CPU]  # each region is also a GPU event
    times = {event.key: event.cpu_time_total / 1e3 for event in on_cpu}  # ms
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


def region_shares(directory: Path) -> str | None:
    """The share of each region in the time of a step, as one line. Returns None if the run has no profile."""
    try:
        lines = (directory / TABLE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return "  ".join(" ".join(line.split()) for line in lines[1 : 1 + len(REGIONS)])
