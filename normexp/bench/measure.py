"""Time networks that differ only in their norm, interleaved so that changes in machine load affect all of them."""

import gc
import math
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.bench.cases import REFERENCE, Case
from normexp.bench.results import MIN_BLOCK_SECONDS, CaseResult, Costs
from normexp.data import info
from normexp.models.build import build_model
from normexp.norms.fold import fold, foldable
from normexp.streams import stream_seed
from normexp.training.build import choose_device, device_name, set_threads, to_device
from normexp.training.precision import Precision, set_precision

WARM_UP_STEPS = 2  # untimed steps of each network, which choose algorithms and allocate memory


@dataclass(frozen=True)
class Batch:
    """Random inputs (B, C, H, W) and labels (B,): the cost does not depend on their values. autocast: for forward passes."""

    inputs: Tensor
    labels: Tensor
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext


def measure(case: Case, *, repeats: int, tick: Callable[[], None] = lambda: None) -> CaseResult:
    """Measure time and memory of every norm of a case. Raises ConfigError if the device is missing.

    After a warm-up, each of `repeats` rounds times a block of training steps of each network in random order (forward pass with
    the loss, and backward pass, but no optimizer step), then a block of inference in random order. tick: called after each block.
    """
    config = case.norms[REFERENCE]
    device = choose_device(config.device)
    set_threads(config)
    set_precision(config, device)
    batch = random_batch(case, device)
    prepared = {norm: _prepare(build_model(config), batch, device) for norm, config in case.norms.items()}
    training = [(network, costs.seconds) for network, _, costs in prepared.values()]
    inferring = [(network, seconds["inference"]) for network, seconds in training]
    inferring += [(folded, costs.seconds["folded"]) for _, folded, costs in prepared.values() if folded is not None]
    train_steps = _block_steps(lambda n: min(training_block(network, batch, n)[0] for network, _ in training))
    infer_steps = _block_steps(lambda n: min(inference_block(network, batch, n) for network, _ in inferring))
    order = random.Random(stream_seed(config.seed, "bench order"))
    for _ in range(repeats):
        gc.collect()  # before the timed blocks rather than during them
        gc.disable()
        try:
            for network, seconds in order.sample(training, len(training)):
                forward, backward = training_block(network, batch, train_steps)
                seconds["forward"].append(forward)
                seconds["backward"].append(backward)
                tick()
            for network, times in order.sample(inferring, len(inferring)):
                times.append(inference_block(network, batch, infer_steps))
                tick()
        finally:
            gc.enable()
    by_norm = {norm: costs for norm, (_, _, costs) in prepared.items()}
    threads, steps = torch.get_num_threads(), (train_steps, infer_steps)
    shape = info(case.norms[REFERENCE].data).shape
    return CaseResult(case.model, case.data, case.batch_size, device_name(device), threads, steps, by_norm, shape)


def count_blocks(case: Case, repeats: int) -> int:
    """Number of ticks of `measure`, assuming that only bn and brn can be folded."""
    return repeats * (2 * len(case.norms) + len({"bn", "brn"} & case.norms.keys()))


def random_batch(case: Case, device: torch.device) -> Batch:
    data, seed = info(case.norms[REFERENCE].data), case.norms[REFERENCE].seed
    generator = torch.Generator().manual_seed(stream_seed(seed, "bench data"))
    inputs = torch.randn(case.batch_size, *data.shape, generator=generator)
    labels = torch.randint(data.classes, (case.batch_size,), generator=generator)
    autocast = Precision(case.norms[REFERENCE], device).autocast
    return Batch(inputs.to(device), labels.to(device), autocast)


def training_block(network: nn.Module, batch: Batch, steps: int) -> tuple[float, float]:
    """Seconds per step of the forward pass with the loss, and of the backward pass. Excludes clearing the gradients."""
    network.train()
    times: list[tuple[Any, Any, Any]] = []
    _synchronize(batch)
    for _ in range(steps):
        for parameter in network.parameters():
            parameter.grad = None
        start = _now(batch)
        with batch.autocast():
            loss = F.cross_entropy(network(batch.inputs), batch.labels)
        middle = _now(batch)
        loss.backward()
        times.append((start, middle, _now(batch)))
    _synchronize(batch)
    forward = sum(_seconds(start, middle) for start, middle, _ in times)
    backward = sum(_seconds(middle, end) for _, middle, end in times)
    return forward / steps, backward / steps


def inference_block(network: nn.Module, batch: Batch, steps: int) -> float:
    """Seconds per batch in evaluation mode, without a graph."""
    network.eval()
    with torch.inference_mode(), batch.autocast():
        _synchronize(batch)
        start = _now(batch)
        for _ in range(steps):
            network(batch.inputs)
        end = _now(batch)
        _synchronize(batch)
    return _seconds(start, end) / steps


def saved_bytes(network: nn.Module, batch: Batch) -> int:
    """Bytes that the forward pass saves for the backward pass, without parameters, buffers, inputs and labels."""
    own = {_address(tensor) for tensor in (*network.parameters(), *network.buffers(), batch.inputs, batch.labels)}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[_address(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    network.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), batch.autocast():
        # The loss keeps all saved tensors alive, so their addresses are unique.
        loss = F.cross_entropy(network(batch.inputs), batch.labels)
    del loss
    return sum(size for address, size in saved.items() if address not in own)


def _prepare(model: nn.Module, batch: Batch, device: torch.device) -> tuple[nn.Module, nn.Module | None, Costs]:
    """Warm up the network. Also returns a copy with folded batch norms, if any, and the costs, without times."""
    network = to_device(model, device)
    costs = Costs(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        saved_bytes=saved_bytes(network, batch),
        peak_bytes=_peak_bytes(network, batch) if device.type == "cuda" else None,
    )
    training_block(network, batch, WARM_UP_STEPS)  # also updates the running statistics from 0 and 1
    costs.folded_norms = len(foldable(network))
    folded = fold(network) if costs.folded_norms else None
    for variant in filter(None, (network, folded)):
        inference_block(variant, batch, 1)
    return network, folded, costs


def _block_steps(seconds_per_step: Callable[[int], float]) -> int:
    """Steps needed for a block of MIN_BLOCK_SECONDS. seconds_per_step: times a block of the given length of the fastest
    network."""
    steps = 1
    while (needed := math.ceil(MIN_BLOCK_SECONDS / seconds_per_step(steps))) > steps:
        steps = needed
    return steps


def _peak_bytes(network: nn.Module, batch: Batch) -> int:
    """Peak GPU memory of a training step, including parameters and gradients."""
    device = batch.inputs.device
    training_block(network, batch, 1)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    training_block(network, batch, 1)
    own = sum(2 * parameter.numel() * parameter.element_size() for parameter in network.parameters())
    return torch.cuda.max_memory_allocated(device) - before + own


def _now(batch: Batch) -> Any:
    """Seconds on the CPU's clock, or a CUDA event."""
    if not batch.inputs.is_cuda:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _seconds(start: Any, end: Any) -> float:
    """Seconds between two results of `_now`. CUDA events must have completed."""
    return float(end - start if isinstance(start, float) else start.elapsed_time(end) / 1e3)


def _synchronize(batch: Batch) -> None:
    if batch.inputs.is_cuda:
        torch.cuda.synchronize()


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
