"""The one place that puts the parts of a run together."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from normexp.config import Config, ConfigError
from normexp.data import DATA
from normexp.data.augment import Augment
from normexp.data.batch_sampler import Order
from normexp.data.sizes import Sizes, sizes
from normexp.data.splits import Splits, load
from normexp.models import layers
from normexp.models.layer import build_model, named_layers
from normexp.optim.optimizers import OPTIMIZERS
from normexp.probes.recorder import Probes
from normexp.streams import stream_seed
from normexp.training.precision import Precision, compiled, set_precision

ALL_THREADS = torch.get_num_threads()
"""What torch takes by itself: the cores that this process may use, or OMP_NUM_THREADS."""

SMALL_STEP = 100_000_000
"""Multiplications of a step's forward pass below which a second thread costs more than it brings. Measured on 2 cores
for mlp and cnn: at 6e6 and 4e7 one thread was as fast or faster, at 1.5e8 two were 1.2 times as fast, at 2.5e8 1.6 times."""


@dataclass(frozen=True)
class Parts:
    """All that training needs. forward: the model, or the same by torch.compile, for the steps at which no probe looks."""

    data: Splits
    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    arithmetic: Precision
    optimizer: Optimizer
    probes: Probes
    augment: Augment | None
    order: Order
    device: torch.device
    sizes: Sizes


def build(config: Config) -> Parts:
    """The parts of a config's run. Raises ConfigError where data or device are missing.

    Sets torch's seed, threads and determinism for the whole process: the same config then gives the same run, bit for bit,
    on the same machine.
    """
    device = choose_device(config.device)
    set_threads(config)
    set_precision(config, device)
    data = load(config, device)
    model = on_device(build_model(config), device)
    _, make = OPTIMIZERS[config.optim.name]
    augment = config.data.augment
    arithmetic = Precision(config, device)
    forward: Callable[[Tensor], Tensor] = model
    if config.compile and config.debug != "anomaly":  # whose hooks a compiled network does not call
        example, _ = data.train.batch(torch.arange(config.batch_size, device=device))
        forward = compiled(model, example, arithmetic)
    optimizer = make(model.parameters(), config.optim, config.peak_lr)
    arithmetic.prepare(optimizer)
    parts = Parts(
        data=data,
        model=model,
        forward=forward,
        arithmetic=arithmetic,
        optimizer=optimizer,
        probes=Probes(named_layers(model), config.probe, seed=config.seed),
        augment=Augment(
            crop="crop" in augment,
            flip="flip" in augment,
            pad=DATA[config.data.name].pad,
            seed=config.seed,
            device=device,
        )
        if augment
        else None,
        order=Order(len(data.train), config.batch_size, seed=config.seed, device=device),
        device=device,
        sizes=sizes(config),
    )
    # From here on torch's global generator serves dropout and noise. The other two serve nothing but a user's own norm.
    torch.manual_seed(stream_seed(config.seed, "dropout and noise"))
    random.seed(stream_seed(config.seed, "python"))
    np.random.seed(stream_seed(config.seed, "numpy") % 2**32)
    return parts


def choose_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. ConfigError for `cuda` without one."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device=cuda: torch sees no GPU here; device=cpu or device=auto works.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def device_name(device: torch.device) -> str:
    """The GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on the device, in the memory format that suits it."""
    moved: nn.Module = model.to(device).to(memory_format=memory_format(model, device))  # type: ignore[call-overload]
    return moved


def memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """channels_last, except for a model with group or instance norms (ln is a group norm) on CUDA.

    Convolutions run 1.3 to 1.7 times as fast on CPU with the channels last in memory; linear layers don't notice. On CUDA,
    torch's group and instance norms return contiguous tensors, so each layer would change the format twice.
    scripts/gpu_check.py times both formats.
    """
    kinds = (nn.GroupNorm, nn.InstanceNorm2d)
    if device.type == "cuda" and any(isinstance(module, kinds) for module in model.modules()):
        return torch.contiguous_format
    return torch.channels_last


def set_threads(config: Config) -> None:
    """The config's number of CPU threads; null: one where a step is too little work to share, else all."""
    work = config.batch_size * sum(plan.multiplications for plan in layers(config))
    torch.set_num_threads(config.threads or (1 if work < SMALL_STEP else ALL_THREADS))
