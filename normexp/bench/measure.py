"""The measuring: networks that differ in nothing but their norm, by turns, so that they meet the same state of the machine."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.bench.cases import REFERENCE, Case
from normexp.bench.results import Costs, Measured
from normexp.data import DATA
from normexp.models.layer import build_model
from normexp.norms.fold import fold, foldable
from normexp.streams import stream_seed
from normexp.training.build import choose_device, device_name, on_device, set_threads
from normexp.training.precision import Precision, set_precision

BLOCK = 0.01
"""Seconds that a timed block lasts at least: a hundred times what reading the clock and waking up cost."""

WARM_UP = 2
"""Steps of each network before its blocks: the first ones choose algorithms and get memory from the system."""

Mark = Any
"""A moment: seconds on the CPU's clock, or an event on the GPU's."""


@dataclass(frozen=True)
class Batch:
    """Random inputs (B, C, H, W) and labels (B,): what they are does not change what they cost. autocast: the context of a
    forward pass."""

    inputs: Tensor
    labels: Tensor
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass
class Subject:
    """A network with what was measured of it. folded: the same with its batch norms folded, where there are any to fold."""

    network: nn.Module
    folded: nn.Module | None
    costs: Costs


def measure(case: Case, *, repeats: int, tick: Callable[[], None] = lambda: None) -> Measured:
    """Time and memory of every norm of a case, `none` among them. Raises ConfigError where its device is missing.

    After a warm-up come `repeats` rounds. In each, every network trains for a block of steps (forward pass with the loss,
    backward pass) and then infers for one, in an order that is drawn anew. No optimizer steps. tick: called after each block.
    """
    config = case.norms[REFERENCE]
    device = choose_device(config.device)
    set_threads(config)
    set_precision(config, device)
    batch = random_batch(case, device)
    subjects = {norm: _subject(build_model(each), batch, device) for norm, each in case.norms.items()}
    trains, infers = _steps_a_block(subjects.values(), batch)
    order = random.Random(stream_seed(config.seed, "bench order"))
    for _ in range(repeats):
        with _no_collection():
            for subject in order.sample([*subjects.values()], len(subjects)):
                forward, backward = training_block(subject.network, batch, trains)
                subject.costs.forward.append(forward)
                subject.costs.backward.append(backward)
                tick()
            networks = [(each.network, each.costs.inference) for each in subjects.values()]
            networks += [(each.folded, each.costs.folded) for each in subjects.values() if each.folded is not None]
            for network, times in order.sample(networks, len(networks)):
                times.append(inference_block(network, batch, infers))
                tick()
    return Measured(
        model=case.model,
        data=case.data,
        batch_size=case.batch_size,
        device=device_name(device),
        threads=torch.get_num_threads(),
        steps_a_block=(trains, infers),
        costs={norm: subject.costs for norm, subject in subjects.items()},
    )


def blocks(case: Case, repeats: int) -> int:
    """How often `measure` will tick, if batch norm is all that can be folded."""
    return repeats * (2 * len(case.norms) + ("bn" in case.norms))


def random_batch(case: Case, device: torch.device) -> Batch:
    data, seed = DATA[case.data], case.norms[REFERENCE].seed
    generator = torch.Generator().manual_seed(stream_seed(seed, "bench data"))
    inputs = torch.randn(case.batch_size, *data.shape, generator=generator)
    labels = torch.randint(data.classes, (case.batch_size,), generator=generator)
    autocast = Precision(case.norms[REFERENCE], device).autocast
    return Batch(inputs.to(device), labels.to(device), autocast)


def training_block(network: nn.Module, batch: Batch, steps: int) -> tuple[float, float]:
    """Seconds a step of the forward pass, with the loss, and of the backward pass. Dropping old gradients is in neither."""
    network.train()
    marks: list[tuple[Mark, Mark, Mark]] = []
    _wait(batch)
    for _ in range(steps):
        for parameter in network.parameters():
            parameter.grad = None
        start = _mark(batch)
        with batch.autocast():
            loss = F.cross_entropy(network(batch.inputs), batch.labels)
        middle = _mark(batch)
        loss.backward()
        marks.append((start, middle, _mark(batch)))
    _wait(batch)
    forward = sum(_between(start, middle) for start, middle, _ in marks)
    backward = sum(_between(middle, end) for _, middle, end in marks)
    return forward / steps, backward / steps


def inference_block(network: nn.Module, batch: Batch, steps: int) -> float:
    """Seconds a batch, in evaluation mode and without what a backward pass would need."""
    network.eval()
    with torch.inference_mode(), batch.autocast():
        _wait(batch)
        start = _mark(batch)
        for _ in range(steps):
            network(batch.inputs)
        end = _mark(batch)
        _wait(batch)
    return _between(start, end) / steps


def saved_bytes(network: nn.Module, batch: Batch) -> int:
    """Bytes that a forward pass in training keeps for the backward pass, beside parameters, buffers, inputs and labels."""
    own = {_address(tensor) for tensor in (*network.parameters(), *network.buffers(), batch.inputs, batch.labels)}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[_address(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    network.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), batch.autocast():
        loss = F.cross_entropy(network(batch.inputs), batch.labels)  # keeps them alive, so that no address comes twice
    del loss
    return sum(size for address, size in kept.items() if address not in own)


def _subject(model: nn.Module, batch: Batch, device: torch.device) -> Subject:
    network = on_device(model, device)
    costs = Costs(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        saved_bytes=saved_bytes(network, batch),
        peak_bytes=_peak_bytes(network, batch) if device.type == "cuda" else None,
    )
    training_block(network, batch, WARM_UP)  # running statistics like those after some training, not 0 and 1
    norms = foldable(network)
    costs.norms_folded = len(norms)
    folded = fold(network) if norms else None
    for each in (network, folded):
        if each is not None:
            inference_block(each, batch, 1)
    return Subject(network, folded, costs)


def _steps_a_block(subjects: Collection[Subject], batch: Batch) -> tuple[int, int]:
    """Steps that make a block of training and of inference last long enough, for the fastest of the networks."""
    networks = [subject.network for subject in subjects]
    infer = [network for each in subjects for network in (each.network, each.folded) if network is not None]
    return (
        _long_enough(lambda steps: min(training_block(network, batch, steps)[0] for network in networks)),
        _long_enough(lambda steps: min(inference_block(network, batch, steps) for network in infer)),
    )


def _long_enough(block: Callable[[int], float]) -> int:
    steps = 1
    while (needed := math.ceil(BLOCK / block(steps))) > steps:
        steps = needed
    return steps


def _peak_bytes(network: nn.Module, batch: Batch) -> int:
    """The most that a training step holds on the GPU at once, parameters and gradients included."""
    device = batch.inputs.device
    training_block(network, batch, 1)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    training_block(network, batch, 1)
    own = sum(2 * parameter.numel() * parameter.element_size() for parameter in network.parameters())
    return torch.cuda.max_memory_allocated(device) - before + own


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python's garbage is collected before the block, and not in it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _mark(batch: Batch) -> Mark:
    if not batch.inputs.is_cuda:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(start: Mark, end: Mark) -> float:
    """Seconds. On a GPU once it has come to the end."""
    return float(end - start if isinstance(start, float) else start.elapsed_time(end) / 1e3)


def _wait(batch: Batch) -> None:
    if batch.inputs.is_cuda:
        torch.cuda.synchronize()


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
