"""Loss and accuracy of a model on a split, and the statistics that batch norm uses for them.

These statistics can be recomputed from training batches with the current weights, where each batch is normalized with its own
statistics, as in training. With mean mu_B and variance var_B of m values per channel:

    paper:    E[x] = E_B[mu_B],  Var[x] = m/(m-1) E_B[var_B]              (Ioffe and Szegedy 2015, algorithm 2)
    moments:  E[x] = E_B[mu_B],  Var[x] = E_B[mu_B^2 + var_B] - E[x]^2    (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm")

The first assumes that batches differ only by chance; the second is the variance of all their values. Dropout is off.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.config import Config
from normexp.data import Sizes
from normexp.data.splits import Split
from normexp.models.layer import named_layers
from normexp.norms.bn import RunningConfig
from normexp.norms.running import batch_norms, ghost_batches, running_norms, whole_ghost_batches
from normexp.probes.base import power_spaced
from normexp.probes.batch_statistics import batch_moments

EVAL_BATCH_SIZE = 500  # affects only the last bits of the loss

CPU_BATCH_SIZE = 100
"""Samples per forward pass of an evaluation on a CPU. With 500, a cnn's activations exceed the cache, which takes twice as long.
The logits are bit-identical."""

MAX_EVALUATIONS = 25
"""Evaluations of a run with eval_every=auto, besides that of step 0. With eval_samples=300, those before the last take about 2 %
of a CNN's run on MNIST, the last one and the test 3 %."""

Estimator = Literal["paper", "moments"]
Interrupted = Callable[[], bool]


def evaluation_steps(every: Literal["auto"] | int | None, sizes: Sizes) -> Sequence[int]:
    """Steps after which to evaluate, besides step 0 and the last. every: `eval_every`; None is once per epoch."""
    if every == "auto":
        return power_spaced(MAX_EVALUATIONS, sizes.total_steps)
    interval = every or sizes.steps_per_epoch
    return range(interval, sizes.total_steps + 1, interval)


class StoppedError(Exception):
    """An evaluation was interrupted. On a slow device, finishing it after Ctrl-C would take too long."""


def evaluate(model: nn.Module, split: Split, interrupted: Interrupted = lambda: False) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy over the split, in evaluation mode: bn uses its running statistics.

    interrupted: asked before each batch. Raises StoppedError if it returns True.
    """

    def logits(inputs: Tensor) -> Tensor:
        return model(inputs) if inputs.is_cuda else torch.cat([model(part) for part in inputs.split(CPU_BATCH_SIZE)])

    with evaluating(model):
        return _means(logits, split.batches(EVAL_BATCH_SIZE), interrupted)


def evaluate_with_batch_statistics(
    model: nn.Module, split: Split, batch_size: int, interrupted: Interrupted = lambda: False
) -> tuple[float, float]:
    """As `evaluate`, but norms with running statistics use each batch's own, as batch norm does in training. Running statistics
    are neither used nor updated; this holds for frozen norms, too, and brn is batch norm.

    batch_size: that of the training (micro-)batches, since the statistics depend on it. An incomplete last batch is dropped. A
    split smaller than that is one batch, without the samples that would not fill a ghost batch.
    """
    size = whole_ghost_batches(model, min(batch_size, len(split)))
    with batch_statistics(model):
        return _means(model, (batch for batch in split.batches(size) if len(batch[1]) == size), interrupted)


def _means(
    model: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]], interrupted: Interrupted
) -> tuple[float, float]:
    """Mean loss and accuracy, with a single transfer from the device."""
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
    return loss_sum / count, correct / count


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
    """As `evaluating`, but norms with running statistics use each batch's own, and do not update the running ones."""
    norms = running_norms(model)
    with evaluating(model):
        for norm in norms:
            norm.train()
            norm.track_running_stats = False  # in train mode: batch statistics without an update
        try:
            yield
        finally:
            for norm in norms:
                norm.track_running_stats = True


@contextmanager
def evaluation_statistics(
    model: nn.Module, config: Config, train: Split, interrupted: Interrupted, *, max_samples: int | None = None
) -> Iterator[dict[str, float]]:
    """Context for an evaluation in which bn uses the statistics that `norm.statistics` selects.

    Recomputed ones come from the first samples of the training data, at most `max_samples`, without augmentation. In that case
    yields running_var_ratio/LAYER: the running variance of a norm over the variance of its input when all norms use running
    statistics, averaged over the channels of nonzero variance (the shift ratio of Li et al. 2019, section 3). Raises
    StoppedError.
    """
    norm = config.norm
    if not isinstance(norm, RunningConfig) or norm.statistics == "running":
        yield {}
        return
    samples = min(norm.recompute_samples, len(train), max_samples or len(train))

    def batches() -> Iterator[Tensor]:
        size = config.micro_batch_size
        return (inputs for inputs, _ in islice(train.batches(size), max(1, samples // size)))

    with evaluating(model):
        at_test_time = _statistics(model, batches(), "moments", interrupted)
    ratios = {}
    for name, layer in named_layers(model).items():
        module = getattr(layer, "norm", None)
        if isinstance(module, _BatchNorm) and module in at_test_time:
            _, var = at_test_time[module]
            varied = var > 0
            if bool(varied.any()):
                assert module.running_var is not None
                ratios[f"running_var_ratio/{name}"] = float((module.running_var[varied] / var[varied]).double().mean())
    with recomputed_statistics(model, batches(), estimator=norm.estimator, interrupted=interrupted):
        yield ratios


@contextmanager
def recomputed_statistics(
    model: nn.Module, batches: Iterable[Tensor], *, estimator: Estimator, interrupted: Interrupted = lambda: False
) -> Iterator[None]:
    """Replace the running statistics of every bn by those of the batches; restore them at the end."""
    with batch_statistics(model):
        statistics = _statistics(model, batches, estimator, interrupted)
    running = {norm: (norm.running_mean, norm.running_var) for norm in statistics}
    try:
        for norm, (mean, var) in statistics.items():
            norm.running_mean, norm.running_var = mean, var
        yield
    finally:
        for norm, (running_mean, running_var) in running.items():
            norm.running_mean, norm.running_var = running_mean, running_var


def _statistics(
    model: nn.Module, batches: Iterable[Tensor], estimator: Estimator, interrupted: Interrupted
) -> dict[_BatchNorm, tuple[Tensor, Tensor]]:
    """Mean and variance, (C,) each, of each bn's input over the batches; summed in float64. Unused norms are left out."""
    norms = batch_norms(model)
    sums: dict[_BatchNorm, Tensor] = {}
    uses = dict.fromkeys(norms, 0)

    def add(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        values = args[0] if args[0].dtype == torch.float64 else args[0].float()  # amp may pass 16 bits
        for part in ghost_batches(norm, values):
            mean, unbiased = (moment.double() for moment in batch_moments(part))
            m = part.numel() // norm.num_features
            second = unbiased if estimator == "paper" else mean**2 + unbiased * (m - 1) / m
            sums[norm] = sums.get(norm, 0) + torch.stack([mean, second])
            uses[norm] += 1

    with ExitStack() as hooks, torch.inference_mode():
        for norm in norms:
            hooks.enter_context(norm.register_forward_pre_hook(add))
        for inputs in batches:
            if interrupted():
                raise StoppedError
            model(inputs)
    statistics = {}
    for norm, total in sums.items():
        mean, second = total / uses[norm]
        var = second if estimator == "paper" else (second - mean**2).clamp(min=0)
        statistics[norm] = mean.to(norm.running_mean), var.to(norm.running_var)
    return statistics
