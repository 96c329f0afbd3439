"""Batch norm's statistics for evaluation, computed anew of training batches, with the weights as they are.

Each batch normalises itself, as in training, and every norm sees the means mu_B and variances var_B of m values a channel:

    paper:    E[x] = E_B[mu_B],  Var[x] = m/(m-1) E_B[var_B]              (Ioffe and Szegedy 2015, algorithm 2)
    moments:  E[x] = E_B[mu_B],  Var[x] = E_B[mu_B^2 + var_B] - E[x]^2    (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm")

The first expects that batches differ by chance alone; the second is the variance of all their values. The networks that are
measured are those of evaluation, without dropout.
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
def for_evaluation(
    model: nn.Module, config: Config, train: Split, interrupted: Callable[[], bool]
) -> Iterator[dict[str, float]]:
    """The context of an evaluation, in which bn has the statistics that `norm.statistics` asks for. Those that are recomputed are
    of the first samples of the training data, without augmentation.

    Of them also what was seen of the running ones before, running_var_ratio/LAYER: a norm's running variance over the variance
    of what it gets at test time, when all norms use running averages; the mean over channels (the shift ratio of Li et al.
    2019, section 3). Raises StoppedError once `interrupted` says so.
    """
    norm = config.norm
    if not isinstance(norm, BatchNorm) or norm.statistics == "running":
        yield {}
        return
    samples = min(norm.recompute_samples, len(train))

    def batches() -> Iterator[Tensor]:
        return (inputs for inputs, _ in islice(train.batches(config.batch_size), max(1, samples // config.batch_size)))

    ratios = _ratios(model, batches(), interrupted)
    with recomputed(model, batches(), estimator=norm.estimator, interrupted=interrupted):
        yield ratios


@contextmanager
def recomputed(
    model: nn.Module,
    batches: Iterable[Tensor],
    *,
    estimator: Estimator,
    interrupted: Callable[[], bool] = never,
) -> Iterator[None]:
    """Statistics of the batches in the place of all running ones, which are put back untouched."""
    with evaluating(model), batch_statistics(model):
        found = _statistics(model, batches, estimator, interrupted)
    running = {norm: (norm.running_mean, norm.running_var) for norm in found}
    try:
        for norm, (mean, var) in found.items():
            norm.running_mean, norm.running_var = mean, var
        yield
    finally:
        for norm, (kept_mean, kept_var) in running.items():
            norm.running_mean, norm.running_var = kept_mean, kept_var


def _ratios(model: nn.Module, batches: Iterable[Tensor], interrupted: Callable[[], bool]) -> dict[str, float]:
    """running_var_ratio of each layer with a batch norm; channels that never vary are left out."""
    with evaluating(model):
        found = _statistics(model, batches, "moments", interrupted)
    ratios = {}
    for name, layer in named_layers(model).items():
        norm = getattr(layer, "norm", None)
        if isinstance(norm, _BatchNorm) and norm in found:
            assert norm.running_var is not None
            var = found[norm][1]
            varied = var > 0
            if bool(varied.any()):
                ratios[f"running_var_ratio/{name}"] = float((norm.running_var[varied] / var[varied]).double().mean())
    return ratios


def _statistics(
    model: nn.Module, batches: Iterable[Tensor], estimator: Estimator, interrupted: Callable[[], bool]
) -> dict[_BatchNorm, tuple[Tensor, Tensor]]:
    """Mean and variance (C,) of what each batch norm gets of the batches; float32, from sums in float64."""
    norms = [norm for norm in model.modules() if isinstance(norm, _BatchNorm) and norm.running_mean is not None]
    sums: dict[_BatchNorm, Tensor] = {}
    uses = dict.fromkeys(norms, 0)
    for norm in norms:
        assert norm.running_mean is not None
        sums[norm] = torch.zeros(2, norm.num_features, dtype=torch.float64, device=norm.running_mean.device)

    def add(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        values = args[0] if args[0].dtype == torch.float64 else args[0].float()  # in 16 bits with amp
        mean, unbiased = (moment.double() for moment in batch_moments(values))
        m = values.numel() // norm.num_features
        sums[norm] += torch.stack([mean, unbiased if estimator == "paper" else mean**2 + unbiased * (m - 1) / m])
        uses[norm] += 1

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    try:
        with torch.inference_mode():
            for inputs in batches:
                if interrupted():
                    raise StoppedError
                model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    found = {}
    for norm in norms:
        if uses[norm]:
            mean, second = sums[norm] / uses[norm]
            var = second if estimator == "paper" else (second - mean**2).clamp(min=0)
            found[norm] = mean.to(norm.running_mean), var.to(norm.running_var)
    return found
