"""Build the parts of a run: data, model, optimizer, probes."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from normexp.config import Config, ConfigError
from normexp.data import Sizes, info, sizes
from normexp.data.base import Arrays
from normexp.data.batches import Augment, BatchSampler
from normexp.data.splits import Split, Splits, load, sample, split
from normexp.models import layers
from normexp.models.build import build_model
from normexp.models.layer import named_layers
from normexp.models.rescale import SAMPLES, rescale_weights
from normexp.models.trainable import freeze_others
from normexp.norms.running import whole_ghost_batches
from normexp.optim.groups import parameter_groups
from normexp.optim.optimizers import OPTIMIZERS
from normexp.probes.runner import Probes
from normexp.streams import stream_seed
from normexp.training.precision import Precision, compile_forward, set_precision

ALL_THREADS = torch.get_num_threads()  # torch's default: the cores that this process may use, or OMP_NUM_THREADS

MAX_SINGLE_THREAD_MULTIPLICATIONS = 100_000_000
"""Multiplications in a step's forward pass below which a single thread is used. Measured for mlp and cnn on 2 cores: at 6e6 and
4e7 one thread was as fast or faster, at 1.5e8 two were 1.2 times as fast, at 2.5e8 1.6 times."""


@dataclass(frozen=True)
class Parts:
    """Everything that training needs.

    val_sample: validation samples of all evaluations but the last. forward: the model, compiled if compile=true; used in steps
    without probes.
    """

    data: Splits
    val_sample: Split
    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    precision: Precision
    optimizer: Optimizer
    probes: Probes
    augment: Augment | None
    order: BatchSampler
    device: torch.device
    sizes: Sizes


def build(config: Config, arrays: Arrays | None = None) -> Parts:
    """Build the parts of a run. Raises ConfigError if the data or the device are not available.

    arrays: used instead of the data set's files.

    Also sets seeds, threads and determinism for the whole process: on the same machine, the same config gives a bit-identical
    run.
    """
    device = choose_device(config.device)
    set_threads(config)
    set_precision(config, device)
    data = load(config, device) if arrays is None else split(arrays, config, device)
    model = build_model(config)
    rescale_to_data(model, config, data.train)
    model = to_device(model, device)
    freeze_others(model, config)
    precision = Precision(config, device)
    forward: Callable[[Tensor], Tensor] = model
    if config.compile and config.debug != "anomaly":  # a compiled model calls no hooks
        example, _ = data.train.batch(torch.arange(config.micro_batch_size, device=device))
        forward = compile_forward(model, example, precision)
    _, make_optimizer = OPTIMIZERS[config.optim.name]
    optimizer = make_optimizer(parameter_groups(model, config.optim), config.optim, config.peak_lr)
    precision.prepare(optimizer)
    probes = Probes(named_layers(model), config.probe, seed=config.seed)
    sort_by = data.train.labels if config.sort_batches else None
    order = BatchSampler(len(data.train), config.batch_size, seed=config.seed, device=device, sort_by=sort_by)
    augment = None
    if kinds := config.data.augment:
        crop, flip, pad = "crop" in kinds, "flip" in kinds, info(config.data).pad
        augment = Augment(crop=crop, flip=flip, pad=pad, seed=config.seed, device=device)
    # From here on, only dropout and noise use torch's global generator; the other two are for users' own norms.
    torch.manual_seed(stream_seed(config.seed, "dropout and noise"))
    random.seed(stream_seed(config.seed, "python"))
    np.random.seed(stream_seed(config.seed, "numpy") % 2**32)
    val_sample = sample(data.val, config.eval_samples, seed=config.seed)
    return Parts(data, val_sample, model, forward, precision, optimizer, probes, augment, order, device, sizes(config))


def rescale_to_data(model: nn.Module, config: Config, train: Split) -> None:
    """Rescale the initial weights by `init.input_std`, if set: on the CPU, so that they are the same on every device."""
    if config.init.input_std is not None:
        count = whole_ghost_batches(model, min(SAMPLES, len(train)))
        samples = torch.arange(count, device=train.labels.device)
        rescale_weights(model, train.batch(samples)[0].cpu(), config.init.input_std)


def choose_device(name: str) -> torch.device:
    """Resolve `auto` to a GPU if there is one. Raises ConfigError for `cuda` without a GPU."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device=cuda: torch finds no GPU; use device=cpu or device=auto.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def device_name(device: torch.device) -> str:
    """The name of the GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move the model to the device, in its best memory format."""
    moved: nn.Module = model.to(device).to(memory_format=memory_format(model, device))  # type: ignore[call-overload]
    return moved


def memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """channels_last, except on CUDA for a model with group or instance norms (ln is a group norm).

    On CPU, convolutions are 1.3 to 1.7 times as fast with channels_last, and linear layers are not affected. On CUDA, torch's
    group and instance norms return contiguous tensors, so each layer would convert twice. scripts/gpu_check.py times both.
    """
    contiguous = (nn.GroupNorm, nn.InstanceNorm2d)
    if device.type == "cuda" and any(isinstance(module, contiguous) for module in model.modules()):
        return torch.contiguous_format
    return torch.channels_last


def set_threads(config: Config) -> None:
    """Set the number of CPU threads. threads=null: one if a step is too small to parallelize, else all."""
    multiplications = config.micro_batch_size * sum(plan.multiplications for plan in layers(config))
    torch.set_num_threads(config.threads or (1 if multiplications < MAX_SINGLE_THREAD_MULTIPLICATIONS else ALL_THREADS))
