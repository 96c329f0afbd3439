"""Timings on a GPU: the limits of the device, a training step over a bare loop, images per second."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import loop
import torch
from harness import cache_data
from parts import SMALL_NETS, Part
from torch.nn import functional as F

from normexp.compose.compose import compose
from normexp.config import Config
from normexp.models.build import build_model
from normexp.optim.optimizers import OPTIMIZERS
from normexp.training.build import choose_device, memory_format
from normexp.training.precision import Precision, compile_forward, set_precision

PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"amp": None, "matmul_precision": "highest"},
    "TF32": {"amp": None, "matmul_precision": "high"},
    "bf16": {"amp": "bf16", "matmul_precision": "highest"},
}

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def measure_device(part: Part) -> None:
    """Measure memory, matrix products per second in each precision, memory bandwidth, and the cost of a launch."""
    device = torch.device(part.device)
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        capability = f"compute capability {about.major}.{about.minor}, {about.multi_processor_count} multiprocessors"
        cudnn: int | None = torch.backends.cudnn.version()
        versions = f"CUDA {torch.version.cuda}, cuDNN {cudnn}, torch {torch.__version__}"
        part.record(about.name, "measured", f"{capability}; {versions}", value=about.total_memory / 2**30, unit="GiB")
    else:
        part.record("cpu", "measured", f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    size = 256 if part.quick else 8192
    kinds = {
        "float32": (torch.float32, "highest"),
        "TF32": (torch.float32, "high"),
        "bf16": (torch.bfloat16, "highest"),
        "fp16": (torch.float16, "highest"),
    }
    for name, (dtype, precision) in kinds.items():
        part.attempt(f"matmul {name}", _measure_matmul, part, name, size, dtype, precision)
    part.attempt("memory bandwidth", _measure_bandwidth, part, 2**18 if part.quick else 2**28)
    part.attempt("launch", _measure_launch, part)


def _measure_matmul(part: Part, name: str, size: int, dtype: torch.dtype, precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    a, b = (torch.randn(size, size, device=part.device).to(dtype) for _ in range(2))
    seconds = seconds_per_call(lambda: a @ b, part)
    part.record(f"matmul {name}", "measured", f"{size} x {size}", value=2 * size**3 / seconds / 1e12, unit="TFLOP/s")


def _measure_bandwidth(part: Part, count: int) -> None:
    source = torch.randn(count, device=part.device)
    target = torch.empty_like(source)
    seconds = seconds_per_call(lambda: target.copy_(source), part)
    detail = f"copying {4 * count / 2**20:g} MiB; bytes read and written"
    part.record("memory bandwidth", "measured", detail, value=8 * count / seconds / 1e9, unit="GB/s")


def _measure_launch(part: Part) -> None:
    scalar = torch.zeros(1, device=part.device)
    seconds = seconds_per_call(lambda: scalar.add_(1), part)
    part.record("launch", "measured", "adding to one number", value=1e6 * seconds, unit="us")


def seconds_per_call(call: Callable[[], object], part: Part) -> float:
    """Median over five blocks of calls, after two calls as warm-up."""
    for _ in range(2):
        call()
    block = 0.002 if part.quick else 0.05
    count = max(1, math.ceil(block / max(1e-9, _seconds(call, part, 1))))
    return statistics.median(_seconds(call, part, count) / count for _ in range(1 if part.quick else 5))


def _seconds(call: Callable[[], object], part: Part, count: int) -> float:
    _synchronize(part)
    start = time.perf_counter()
    for _ in range(count):
        call()
    _synchronize(part)
    return time.perf_counter() - start


def _synchronize(part: Part) -> None:
    if part.device == "cuda":
        torch.cuda.synchronize()


def measure_loop(part: Part) -> None:
    """Time training steps with all sinks and probes relative to a bare loop (scripts/bench/loop.py), on the digits."""
    cache_data()
    cases = {
        "mlp 100x3, batch 64": ["model=mlp"],
        "cnn, batch 64": [],
        "cnn, batch 512": ["batch_size=512"],
        "resnet 20, batch 128": ["model=resnet", "batch_size=128"],
    }
    for what, overrides in cases.items():
        part.attempt(what, _measure_loop, part, what, overrides)


def _measure_loop(part: Part, what: str, overrides: list[str]) -> None:
    case = loop.Case(overrides, block=50, repeats=5)
    row = loop.measure(what, case, data_dir="data", device=part.device, repeats=None, quick=part.quick)
    detail = ", ".join(f"{name} {value:.4g}" for name, value in row.more.items() if not isinstance(value, str))
    part.record(what, "measured", detail, value=statistics.median(row.values), unit="of a bare loop")


def measure_throughput(part: Part, *, compiles: bool) -> None:
    """Measure images per second of training steps with batch norm, on random images of CIFAR-10's shape."""
    sizes = (8,) if part.quick else (512, 128, 2048)
    precisions = ("bf16",) if part.quick else tuple(PRECISIONS)
    models = ("cnn",) if part.quick and compiles else ("cnn", "resnet")
    for size, model, precision in product(sizes, models, precisions):
        what = f"{_title(model)}, batch {size}, {precision}" + ", compiled" * compiles
        config = dataclasses.replace(_config(part, model, "bn", precision, size), compile=compiles)
        part.attempt(what, _measure_images_per_second, part, what, config, None)


def measure_formats(part: Part) -> None:
    """Measure images per second for every norm in both memory formats. The detail marks the one that normexp chooses."""
    norms = ("gn",) if part.quick else ("gn", "in", "ln", "bn", "none")
    precisions = ("float32",) if part.quick else tuple(PRECISIONS)
    size = 8 if part.quick else 512
    for norm, model, precision, layout in product(norms, ("cnn", "resnet"), precisions, FORMATS):
        what = f"{_title(model)}, {norm}, batch {size}, {precision}, {layout}"
        config = _config(part, model, norm, precision, size)
        part.attempt(what, _measure_images_per_second, part, what, config, FORMATS[layout])


def _title(model: str) -> str:
    return {"resnet": "resnet 20"}.get(model, model)


def _config(part: Part, model: str, norm: str, precision: str, batch_size: int) -> Config:
    small = SMALL_NETS[model] if part.quick else []
    config = compose([f"model={model}", f"norm={norm}", "data=cifar10", "threads=null", *small])
    return dataclasses.replace(config, device=part.device, batch_size=batch_size, **PRECISIONS[precision])


def _measure_images_per_second(part: Part, what: str, config: Config, layout: torch.memory_format | None) -> None:
    """layout: None for the one that normexp chooses."""
    device = choose_device(config.device)
    set_precision(config, device)
    model, precision = build_model(config).to(device), Precision(config, device)
    chosen = memory_format(model, device)
    model = model.to(memory_format=layout or chosen)  # type: ignore[call-overload]
    images = torch.randn(config.batch_size, 3, 32, 32, device=device)
    labels = torch.randint(10, (config.batch_size,), device=device)
    start = time.monotonic()
    forward = compile_forward(model, images, precision) if config.compile else model
    compile_seconds = time.monotonic() - start
    _, make_optimizer = OPTIMIZERS[config.optim.name]
    parameters = list(model.parameters())
    optimizer = make_optimizer(parameters, config.optim, 1e-4)
    precision.prepare(optimizer)

    def step() -> None:
        for parameter in parameters:
            parameter.grad = None
        with precision.autocast():
            loss = F.cross_entropy(forward(images), labels)
        precision.backward(loss)
        precision.unscale(optimizer)
        precision.update(optimizer)

    seconds = seconds_per_call(step, part)
    detail = f"{1e3 * seconds:.3f} ms a step"
    detail += f", compiled in {compile_seconds:.0f} s" if config.compile else ""
    detail += ", normexp's choice" if layout == chosen else ""
    part.record(what, "measured", detail, value=config.batch_size / seconds, unit="images/s")
