"""With which arithmetic a network is computed: mixed precision, compiled or not, and how exact float32 products are.

Norms compute in float32 whatever the rest does: a mean and a variance in 8 bits of mantissa are not worth comparing.
"""

from __future__ import annotations

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

AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Mixed precision (Micikevicius et al. 2018): linear layers and convolutions in 16 bits, weights, norms and loss in 32.

    fp16 scales the loss, so that small gradients do not become 0, and leaves out an update whose gradients are not finite.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self._device, self._dtype = device.type, AMP.get(config.amp or "")
        self.scaler = torch.amp.GradScaler(device.type) if config.amp == "fp16" else None

    def prepare(self, optimizer: Optimizer) -> None:
        """Before the first step, of a new optimizer."""
        # Torch's fused SGD takes a momentum without content where the first update was left out (seen with torch 2.13.0).
        # From zeros it comes to the same as from none.
        if self.scaler is not None and optimizer.defaults.get("momentum"):
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of each forward pass."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, self._dtype)

    def backward(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Give the parameters their gradients, of the loss as it is."""
        if self.scaler is None:
            loss.backward()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(optimizer)

    def update(self, optimizer: Optimizer) -> None:
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    def loss_scale(self) -> Tensor | float:
        """What the loss is multiplied by while its gradient is computed; a tensor stays on the device."""
        return 1.0 if self.scaler is None else self.scaler.scale(torch.ones((), device=self._device))

    def state_dict(self) -> dict[str, Any]:
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)


def set_precision(config: Config, device: torch.device) -> None:
    """How float32 products are computed in this process, and that they come out the same each time."""
    torch.set_float32_matmul_precision(config.matmul_precision)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Before torch.compile is first used: it would benchmark kernels that add up in different orders and take the fastest.
        os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
        torch.use_deterministic_algorithms(True)
        # A debugging aid that launches one kernel for each tensor that is allocated: 74 a step for the default cnn.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = config.matmul_precision != "highest"


def compiled(model: nn.Module, example: Tensor, arithmetic: Precision) -> Callable[[Tensor], Tensor]:
    """The model's forward pass by torch.compile, with the model's own parameters; compiled here, for inputs like the example.

    On CUDA it is replayed as a graph, whose outputs are copied, since its next replay writes over them. Raises ConfigError where
    there is no compiler to compile with.
    """
    check_compiler(example.device)
    torch.compiler.reset()  # else it would give up on the ninth network of a process
    mode = "reduce-overhead" if example.is_cuda else None
    replayed = cast(Callable[[Tensor], Tensor], torch.compile(model, mode=mode, dynamic=False))

    def forward(inputs: Tensor) -> Tensor:
        logits = replayed(inputs)
        return logits.clone() if inputs.is_cuda else logits

    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    for _ in range(3 if example.is_cuda else 1):  # a graph is recorded at the second call
        with arithmetic.autocast():
            logits = forward(example)
        logits.float().sum().backward()
        for parameter in model.parameters():
            # Inside the loop: gradients are memory of the graph, to which its next replay can't add (pytorch issue 169545).
            parameter.grad = None
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    return forward


def check_compiler(device: torch.device) -> None:
    """Raise ConfigError if a program is missing that torch.compile calls: a C++ compiler, or for a GPU triton, which calls a C
    compiler."""
    if device.type == "cuda" and find_spec("triton") is None:
        raise ConfigError("compile=true: on a GPU torch.compile needs the package triton (pip install triton).")
    if device.type == "cuda":
        variable, kind = "CC", "C"
        compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    else:
        variable, kind = "CXX", "C++"
        compilers = [os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")]
    if not any(map(shutil.which, compilers)):
        raise ConfigError(
            f"compile=true: torch.compile needs a {kind} compiler, and there is no {show(compilers[0])} here; "
            f"${variable} can name another."
        )
