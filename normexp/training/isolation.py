"""Keep the global state of a run apart from that of the program that starts it."""

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
import torch.utils.deterministic

ENVIRONMENT = ("CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_DETERMINISTIC", "KINETO_LOG_LEVEL")
"""Environment variables that a run may set."""


@contextmanager
def own_global_state() -> Iterator[None]:
    """Run the block with torch's defaults where the caller's settings would change a run's numbers (dtype, device, gradients,
    autocast), and restore all global state of torch, NumPy, Python's random and warnings that a run changes."""
    threads, dtype, device = torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()
    matmul, determinism = torch.get_float32_matmul_precision(), torch.get_deterministic_debug_mode()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    environment = {name: os.environ.get(name) for name in ENVIRONMENT}
    python, numpy = random.getstate(), np.random.get_state()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    try:
        torch.set_default_dtype(torch.float32)
        if device.type != "cpu":
            torch.set_default_device(None)
        with ExitStack() as contexts:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    contexts.enter_context(torch.autocast(kind, enabled=False))
            contexts.enter_context(torch.inference_mode(False))
            contexts.enter_context(torch.enable_grad())
            contexts.enter_context(torch.random.fork_rng(devices=gpus))
            contexts.enter_context(warnings.catch_warnings())
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        if device.type != "cpu":
            torch.set_default_device(device)
        torch.set_float32_matmul_precision(matmul)
        torch.set_deterministic_debug_mode(determinism)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = cudnn
        random.setstate(python)
        np.random.set_state(numpy)
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
