"""Loss and accuracy of a network on a whole split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.data.splits import Split

BATCH = 500
"""Samples an evaluation takes at once; the result does not depend on it."""


class StoppedError(Exception):
    """An evaluation was asked to stop: on a slow device it takes longer than one waits for Ctrl-C."""


def never() -> bool:
    return False


def evaluate(model: nn.Module, split: Split, interrupted: Callable[[], bool] = never) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy over the split, in evaluation mode: bn uses its running statistics.

    Raises StoppedError once `interrupted` says so, which is asked before each batch.
    """
    with evaluating(model):
        loss, correct, count = _totals(model, split.batches(BATCH), interrupted)
    return loss / count, correct / count


def evaluate_with_batch_statistics(
    model: nn.Module, split: Split, batch_size: int, interrupted: Callable[[], bool] = never
) -> tuple[float, float]:
    """The same, but every bn normalises each batch with the batch's own statistics, as in training.

    The batches are as large as in training, since the statistics depend on it; a smaller rest is left out. The running
    statistics are neither used nor changed, and dropout and noise are off.
    """
    with evaluating(model), batch_statistics(model):
        full = min(batch_size, len(split))
        batches = (batch for batch in split.batches(full) if len(batch[1]) == full)
        loss, correct, count = _totals(model, batches, interrupted)
    return loss / count, correct / count


def _totals(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], interrupted: Callable[[], bool]
) -> tuple[float, int, int]:
    """Sum of losses, number of correct answers, number of samples; the device is asked once, at the end."""
    sums, count = [], 0
    with torch.inference_mode():
        for inputs, labels in batches:
            if interrupted():
                raise StoppedError
            logits = model(inputs)
            loss = F.cross_entropy(logits, labels, reduction="sum").double()
            sums.append(torch.stack([loss, (logits.argmax(1) == labels).sum().double()]))
            count += len(labels)
        loss_sum, correct = torch.stack(sums).sum(0).tolist()
    return loss_sum, round(correct), count


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off, and bn with its running statistics."""
    model.eval()
    try:
        yield
    finally:
        model.train()


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """While evaluating: bn with each batch's own statistics, and without an update of the running ones."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.train()
        norm.track_running_stats = False  # in training mode: the batch's statistics, without an update
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
            norm.eval()
