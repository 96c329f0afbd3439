"""debug=profile: profile some training steps. debug=anomaly: find the layer in which a value first becomes non-finite."""

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile, schedule

from normexp.config import Config
from normexp.models.layer import named_layers
from normexp.rundir import atomic

TRACE, TABLE = "profile.pt.trace.json.gz", "profile.txt"

WAIT, ACTIVE = 10, 20
"""Steps to skip, the last of which warms up the profiler, and steps to record."""

REGIONS = ("batch", "forward", "backward", "update", "probes", "log", "evaluate")
"""Regions of a training step in the profile."""


def debugging(config: Config, model: nn.Module, directory: Path) -> AbstractContextManager[profile | None]:
    """Context for training, by the config's `debug`. Yields the profiler, if any, which the training loop must step."""
    if config.debug == "profile":
        return _profiling(model, directory)
    return detect_anomalies(model, gradients=config.amp != "fp16") if config.debug == "anomaly" else nullcontext()


@contextmanager
def _profiling(model: nn.Module, directory: Path) -> Iterator[profile]:
    """After the last recorded step, write a trace in Chrome's format (for ui.perfetto.dev), with a named region for each layer's
    forward pass, and a table of operations and regions. Raises WriteError."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # keeps Kineto from printing
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    steps = schedule(wait=WAIT - 1, warmup=1, active=ACTIVE, repeat=1)
    write = partial(_write_profile, directory)
    with ExitStack() as hooks:
        for name, layer in named_layers(model).items():
            for hook in _name_forward_pass(name, layer):
                hooks.enter_context(hook)
        with profile(activities=activities, schedule=steps, on_trace_ready=write, record_shapes=True) as profiler:
            yield profiler


def _name_forward_pass(name: str, layer: nn.Module) -> list[Any]:
    """Add hooks that record a layer's forward pass as a region; returns their handles."""
    open_regions: list[record_function] = []

    def begin(_: nn.Module, inputs: object) -> None:
        open_regions.append(record_function(name))
        open_regions[-1].__enter__()

    def end(_: nn.Module, inputs: object, output: object) -> None:
        open_regions.pop().__exit__(None, None, None)

    return [layer.register_forward_pre_hook(begin), layer.register_forward_hook(end, always_call=True)]


def _write_profile(directory: Path, profiler: profile) -> None:
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
    """Share of each region in a step's CPU time, on one line. Returns None if the run has no profile."""
    try:
        lines = (directory / TABLE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return "  ".join(" ".join(line.split()) for line in lines[1 : 1 + len(REGIONS)])


class AnomalyError(Exception):
    """A value or a gradient is not finite. The message names the layer and the magnitude of its input."""


@contextmanager
def detect_anomalies(model: nn.Module, *, gradients: bool = True) -> Iterator[None]:
    """Raise AnomalyError as soon as an output of a layer's part, or its gradient, is not finite in training.

    Each check waits for the device. gradients: must be False with loss scaling, which occasionally overflows by design.
    Unlike torch's own anomaly mode, this also catches infinities and reports the layer's name.
    """

    def check(name: str, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # Skip evaluations, and probes that call the model with other tensors in place of its parameters.
        substituted = not isinstance(next(model.parameters()), nn.Parameter)
        if substituted or not part.training or torch.is_inference_mode_enabled():
            return
        for parameter, value in part.named_parameters():
            if bad := _not_finite(value):
                shown = parameter.removeprefix("parametrizations.")  # of a normalized weight: weight.original
                raise AnomalyError(f"{bad} in the {shown} of {name}, after the last update")
        if bad := _not_finite(output):
            raise AnomalyError(f"{bad} in the output of {name}, whose input was at most {_largest(inputs[0])}")
        if gradients and output.requires_grad:
            output.register_hook(partial(check_gradient, name, _largest(output)))

    def check_gradient(name: str, largest: str, gradient: Tensor) -> None:
        if bad := _not_finite(gradient):
            raise AnomalyError(f"{bad} in the gradient of the output of {name}, which was at most {largest}")

    with ExitStack() as hooks:
        for layer, module in named_layers(model).items():
            for name, part in module.named_children():
                hooks.enter_context(part.register_forward_hook(partial(check, f"{layer}.{name}")))
        yield


def _not_finite(values: Tensor) -> str | None:
    """Such as '3 of 640 values are not finite'. Returns None if all are finite."""
    count = int((~torch.isfinite(values)).sum())
    return f"{count:,} of {values.numel():,} values are not finite" if count else None


def _largest(values: Tensor) -> str:
    return f"{float(values.detach().abs().max()):.4g}"
