"""Loss and accuracy of a model on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.data.splits import Split

EVAL_BATCH_SIZE = 500
"""Batch size of evaluations. The result does not depend on it."""


class StoppedError(Exception):
    """An evaluation was interrupted. On a slow device it takes too long to finish it after Ctrl-C."""


def never() -> bool:
    return False


def evaluate(model: nn.Module, split: Split, interrupted: Callable[[], bool] = never) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy over the split, in evaluation mode: bn uses its running statistics.

    interrupted: asked before each batch. Raises StoppedError if it returns True.
    """
    with evaluating(model):
        loss, correct, count = _totals(model, split.batches(EVAL_BATCH_SIZE), interrupted)
    return loss / count, correct / count


def evaluate_with_batch_statistics(
    model: nn.Module, split: Split, batch_size: int, interrupted: Callable[[], bool] = never
) -> tuple[float, float]:
    """As `evaluate`, but bn normalizes each batch with its own statistics, as in training; dropout and noise are off.

    batch_size: that of training, since the statistics depend on it. An incomplete last batch is dropped. The running
    statistics are neither used nor updated.
    """
    with evaluating(model), batch_statistics(model):
        size = min(batch_size, len(split))
        batches = (batch for batch in split.batches(size) if len(batch[1]) == size)
        loss, correct, count = _totals(model, batches, interrupted)
    return loss / count, correct / count


def _totals(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], interrupted: Callable[[], bool]
) -> tuple[float, int, int]:
    """Sum of losses, number of correct predictions, number of samples, with a single transfer from the device at the end."""
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
    """Evaluation mode: dropout is off, and bn uses its running statistics."""
    model.eval()
    try:
        yield
    finally:
        model.train()


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Inside `evaluating`: bn uses each batch's own statistics, and does not update the running ones."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.train()
        norm.track_running_stats = False  # in train mode: batch statistics without an update
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
            norm.eval()
