"""checkpoint.pt: all that going on with a run needs. It loads with weights_only=True."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from normexp.rundir import removed_on_error
from normexp.training.build import Parts

FORMAT = 1


def save(path: Path, parts: Parts, step: int) -> None:
    """Weights and buffers, optimizer, step, and the state of every random generator. The file is replaced as a whole."""
    state: dict[str, Any] = {
        "format": FORMAT,
        "step": step,
        "model": parts.model.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "generators": {
            "torch": torch.get_rng_state(),
            "order": parts.order.get_state(),
            **({"augment": parts.augment.generator.get_state()} if parts.augment else {}),
            **({"cuda": torch.cuda.get_rng_state(parts.device)} if parts.device.type == "cuda" else {}),
        },
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with removed_on_error(temporary):
        torch.save(state, temporary)
        temporary.replace(path)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    assert isinstance(state, dict)
    return state
