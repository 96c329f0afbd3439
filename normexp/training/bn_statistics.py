"""Recompute batch norm's statistics for evaluation from training batches, with the current weights.

Each batch is normalized with its own statistics, as in training. With mean mu_B and variance var_B of m values per channel:

    paper:    E[x] = E_B[mu_B],  Var[x] = m/(m-1) E_B[var_B]              (Ioffe and Szegedy 2015, algorithm 2)
    moments:  E[x] = E_B[mu_B],  Var[x] = E_B[mu_B^2 + var_B] - E[x]^2    (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm")

The first assumes that batches differ only by chance; the second is the variance of all their values. Dropout is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.config import Config
from normexp.data.splits import Split
from normexp.models.layer import named_layers
from normexp.norms.bn import BatchNorm
from normexp.probes.batch_statistics import batch_moments
from normexp.training.evaluate import StoppedError, batch_statistics, evaluating, never

Estimator = Literal["paper", "moments"]


@contextmanager
def evaluation_statistics(
    model: nn.Module, config: Config, train: Split, interrupted: Callable[[], bool]
) -> Iterator[dict[str, float]]:
    """The context of an evaluation, in which bn uses the statistics that `norm.statistics` selects.

    Recomputed ones come from the first samples of the training data, without augmentation. In that case yields
    running_var_ratio/LAYER: the running variance of a norm over the variance of its input at test time, when all norms use
    running statistics; the mean over channels (the shift ratio of Li et al. 2019, section 3). Raises StoppedError.
    """
    norm = config.norm
    if not isinstance(norm, BatchNorm) or norm.statistics == "running":
        yield {}
        return
    samples = min(norm.recompute_samples, len(train))

    def batches() -> Iterator[Tensor]:
        return (inputs for inputs, _ in islice(train.batches(config.batch_size), max(1, samples // config.batch_size)))

    ratios = _ratios(model, batches(), interrupted)
    with recomputed_statistics(model, batches(), estimator=norm.estimator, interrupted=interrupted):
        yield ratios


@contextmanager
def recomputed_statistics(
    model: nn.Module,
    batches: Iterable[Tensor],
    *,
    estimator: Estimator,
    interrupted: Callable[[], bool] = never,
) -> Iterator[None]:
    """Replace the running statistics of every bn by those of the batches, and put the running ones back at the end."""
    with evaluating(model), batch_statistics(model):
        statistics = _statistics(model, batches, estimator, interrupted)
    running = {norm: (norm.running_mean, norm.running_var) for norm in statistics}
    try:
        for norm, (mean, var) in statistics.items():
            norm.running_mean, norm.running_var = mean, var
        yield
    finally:
        for norm, (running_mean, running_var) in running.items():
            norm.running_mean, norm.running_var = running_mean, running_var


def _ratios(model: nn.Module, batches: Iterable[Tensor], interrupted: Callable[[], bool]) -> dict[str, float]:
    """running_var_ratio of each layer with a bn. Channels with zero variance are excluded."""
    with evaluating(model):
        statistics = _statistics(model, batches, "moments", interrupted)
    ratios = {}
    for name, layer in named_layers(model).items():
        norm = getattr(layer, "norm", None)
        if isinstance(norm, _BatchNorm) and norm in statistics:
            assert norm.running_var is not None
            var = statistics[norm][1]
            nonzero = var > 0
            if bool(nonzero.any()):
                ratios[f"running_var_ratio/{name}"] = float((norm.running_var[nonzero] / var[nonzero]).double().mean())
    return ratios


def _statistics(
    model: nn.Module, batches: Iterable[Tensor], estimator: Estimator, interrupted: Callable[[], bool]
) -> dict[_BatchNorm, tuple[Tensor, Tensor]]:
    """Mean and variance, (C,) each, of the input of each bn over the batches; summed in float64. Norms not used are left out."""
    sums: dict[_BatchNorm, Tensor] = {}
    uses: dict[_BatchNorm, int] = {}
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            sums[norm] = torch.zeros(2, norm.num_features, dtype=torch.float64, device=norm.running_mean.device)
            uses[norm] = 0

    def add(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        values = args[0] if args[0].dtype == torch.float64 else args[0].float()  # amp may pass 16 bits
        mean, unbiased = (moment.double() for moment in batch_moments(values))
        m = values.numel() // norm.num_features
        sums[norm] += torch.stack([mean, unbiased if estimator == "paper" else mean**2 + unbiased * (m - 1) / m])
        uses[norm] += 1

    hooks = [norm.register_forward_pre_hook(add) for norm in sums]
    try:
        with torch.inference_mode():
            for inputs in batches:
                if interrupted():
                    raise StoppedError
                model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    statistics = {}
    for norm, count in uses.items():
        if count:
            mean, second = sums[norm] / count
            var = second if estimator == "paper" else (second - mean**2).clamp(min=0)
            statistics[norm] = mean.to(norm.running_mean), var.to(norm.running_var)
    return statistics
