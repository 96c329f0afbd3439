"""Numerical precision: mixed precision, float32 matrix products, determinism, and torch.compile.

Norms compute in float32 in every mode: with an 8-bit mantissa, means and variances would be too rough to compare.
"""

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any, cast

import torch
import torch.utils.deterministic
from torch import Tensor, nn
from torch.optim import Optimizer

from normexp.config import Config, ConfigError, show

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Mixed precision (Micikevicius et al. 2018): linear layers and convolutions in 16 bits, weights, norms and loss in 32.

    fp16 scales the loss, so that small gradients don't underflow, and skips an update whose gradients are not finite.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self._device, self._dtype = device.type, AMP_DTYPES.get(config.amp or "")
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.amp == "fp16")  # does nothing unless enabled

    def prepare(self, optimizer: Optimizer) -> None:
        """Prepare a new optimizer for its first step."""
        # If GradScaler skips the first update, torch's fused SGD reads an uninitialized momentum buffer (seen with torch
        # 2.13.0). Starting from zeros is equivalent to starting from none.
        if self.scaler.is_enabled() and optimizer.defaults.get("momentum"):
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def autocast(self) -> AbstractContextManager[Any]:
        """Context for a forward pass."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the loss, scaled until `unscale`, to those of earlier micro-batches."""
        self.scaler.scale(loss).backward()

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the loss scale; once per step."""
        self.scaler.unscale_(optimizer)

    def update(self, optimizer: Optimizer) -> None:
        self.scaler.step(optimizer)
        self.scaler.update()

    def loss_scale(self) -> Tensor | float:
        """Factor on the loss in the backward pass; with fp16, a tensor on the device."""
        return self.scaler.scale(torch.ones((), device=self._device)) if self.scaler.is_enabled() else 1.0


def set_precision(config: Config, device: torch.device) -> None:
    """Set the precision of float32 matrix products for this process, and make CUDA deterministic."""
    torch.set_float32_matmul_precision(config.matmul_precision)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Must be set before the first torch.compile, which would choose the fastest kernel whatever its order of summation.
        os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
        torch.use_deterministic_algorithms(True)
        # A debugging aid that launches a kernel for each new tensor: 74 per step of the default cnn.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = config.matmul_precision != "highest"


def compile_forward(model: nn.Module, example: Tensor, precision: Precision) -> Callable[[Tensor], Tensor]:
    """Compile the model's forward and backward pass for inputs like `example`; the parameters stay the model's own.

    On CUDA, a CUDA graph is replayed, whose outputs are copied because the next replay overwrites them. Raises ConfigError if
    no compiler is installed.
    """
    check_compiler(example.device)
    torch.compiler.reset()  # torch gives up after eight models in one process
    mode = "reduce-overhead" if example.is_cuda else None
    replayed = cast(Callable[[Tensor], Tensor], torch.compile(model, mode=mode, dynamic=False))

    def forward(inputs: Tensor) -> Tensor:
        logits = replayed(inputs)
        return logits.clone() if inputs.is_cuda else logits

    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    for _ in range(3 if example.is_cuda else 1):  # a CUDA graph is recorded in the second call
        with precision.autocast():
            logits = forward(example)
        logits.float().sum().backward()
        for parameter in model.parameters():
            # Inside the loop: the gradients live in the graph's memory, and its next replay can't add to them (pytorch #169545).
            parameter.grad = None
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    return forward


def check_compiler(device: torch.device) -> None:
    """Raise ConfigError if torch.compile lacks its compiler: C++ for the CPU; triton, and C for triton, for a GPU."""
    if device.type == "cuda":
        if find_spec("triton") is None:
            raise ConfigError("compile=true: on a GPU torch.compile needs the package triton (pip install triton).")
        variable, kind, compilers = "CC", "C", ["gcc", "clang"]
    else:
        variable, kind, compilers = "CXX", "C++", ["clang++" if sys.platform == "darwin" else "g++"]
    if variable in os.environ:
        compilers = [os.environ[variable]]
    if not any(map(shutil.which, compilers)):
        raise ConfigError(
            f"compile=true: torch.compile needs a {kind} compiler, but {show(compilers[0])} was not found; install it, or set "
            f"${variable} to another one."
        )
