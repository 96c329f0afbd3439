"""Evaluate a finished run's network again: on another split or shifted images, with other statistics, or folded."""

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from normexp import rundir
from normexp.config import Config, ConfigError, show
from normexp.data import DATA
from normexp.data.shifts import shifted
from normexp.data.splits import Split, split
from normexp.models.build import build_model
from normexp.norms.bn import RunningConfig
from normexp.norms.fold import fold
from normexp.norms.running import whole_ghost_batches
from normexp.streams import stream_seed
from normexp.training import checkpoint
from normexp.training.build import choose_device, set_threads, to_device
from normexp.training.evaluate import (
    CPU_BATCH_SIZE,
    EVAL_BATCH_SIZE,
    batch_statistics,
    evaluating,
    evaluation_statistics,
    recomputed_statistics,
)
from normexp.training.evaluation_options import EvaluationOptions, with_statistics
from normexp.training.precision import Precision, set_precision


@dataclass(frozen=True)
class Evaluation:
    """loss: mean cross-entropy in nats. confusion: number of samples by true class (rows) and predicted class, (K, K)."""

    loss: float
    accuracy: float
    confusion: NDArray[np.int64]
    step: int

    def entry(self, options: EvaluationOptions) -> dict[str, Any]:
        """The evaluation as an object of evaluations.jsonl."""
        numbers = {"loss": self.loss, "accuracy": self.accuracy, "confusion": self.confusion.tolist()}
        return {"at": rundir.now(), "step": self.step, **dataclasses.asdict(options), **numbers}


def evaluate_run(directory: Path, config: Config, options: EvaluationOptions) -> Evaluation:
    """Evaluate the network in a run's last checkpoint. Raises ConfigError if the checkpoint or the data can't be used."""
    state = _checkpoint(directory, config)
    device = choose_device(config.device)
    set_threads(config)
    set_precision(config, device)
    arrays = DATA[config.data.name].load(config.data, Path(config.data_dir).expanduser())
    data = split(arrays, config, device)
    checkpoint.check_data(state, data.fingerprint, config)
    model = to_device(_with_weights(directory, config, state), device)
    target: Split = getattr(data, options.split)
    if options.shift is not None:
        low, high = (float(value) / arrays.scale for value in target.images.aminmax())
        if not (low >= 0 and high <= 1):
            raise ConfigError(
                f"shift={options.shift} needs values from 0 to 1 or bytes, but the images of data={config.data.name} have "
                f"values from {low:.4g} to {high:.4g}."
            )
        images = shifted(
            target.images, arrays.scale, kind=options.shift, severity=options.severity or 1, seed=options.seed
        )
        target = replace(target, images=images, cache_inputs=False)
    if options.statistics_from == "test" and len(target) < 2:
        raise ConfigError("statistics_from=test needs at least two test samples.")
    if (size := options.batch_size) is not None and size > len(target):
        raise ConfigError(
            f"batch_size={size}: split={options.split} has {len(target):,} samples. Use a smaller batch_size."
        )
    with Precision(config, device).autocast(), _statistics(model, config, options, data.train, target):
        network = _folded(model) if options.fold else model
        order = None if size is None else shuffled(target, size, seed=options.seed)
        loss, confusion = predictions(network, target, order)
    return Evaluation(loss, int(confusion.trace()) / int(confusion.sum()), confusion, state["step"])


def _checkpoint(directory: Path, config: Config) -> Mapping[str, Any]:
    """The checkpoint of the run's last step. Raises ConfigError. An earlier one is not used instead: it has another network."""
    path, hint = directory / checkpoint.NAME, ""
    if (directory / checkpoint.PREVIOUS).is_file():
        hint = (
            f" To train the steps after {checkpoint.PREVIOUS} again, delete {show(directory / 'status.json', 200)} and use "
            f"normexp resume {show(shlex.quote(str(directory)), 200)}."
        )
    if not path.is_file():
        raise ConfigError(f"{show(directory)} has no {checkpoint.NAME}.{hint}")
    try:
        state = checkpoint.load(path)
        differing = checkpoint.differing_keys(state, config)
    except (checkpoint.CheckpointError, KeyError, TypeError, AttributeError) as error:
        reason = error if isinstance(error, checkpoint.CheckpointError) else "it is not a checkpoint of normexp"
        raise ConfigError(f"{show(path)} can't be used: {reason}.{hint}") from error
    if differing:
        raise ConfigError(f"{show(directory)}: its config.yaml and its checkpoint differ in {', '.join(differing)}.")
    return state


def _folded(model: nn.Module) -> nn.Module:
    try:
        return fold(model)
    except ValueError as error:
        raise ConfigError(f"fold=true: {error}.") from error


@contextmanager
def _statistics(
    model: nn.Module, config: Config, options: EvaluationOptions, train: Split, target: Split
) -> Iterator[None]:
    """Context in which bn uses the statistics that the options select."""
    if options.statistics == "recomputed" and options.statistics_from == "test":
        assert isinstance(config.norm, RunningConfig)
        batches = target_batches(model, config, target, seed=options.seed)
        with recomputed_statistics(model, batches, estimator=config.norm.estimator):
            yield
    elif options.statistics == "batch":
        yield
    else:
        chosen = with_statistics(config, options.statistics)
        with evaluation_statistics(model, chosen, train, lambda: False):
            yield


def target_batches(model: nn.Module, config: Config, target: Split, *, seed: int) -> Iterator[Tensor]:
    """Inputs of up to `norm.recompute_samples` samples of the target data, but at least one batch, without labels.

    In batches as in training.
    """
    assert isinstance(config.norm, RunningConfig)
    size = whole_ghost_batches(model, min(config.micro_batch_size, len(target)))
    batches = max(1, min(config.norm.recompute_samples, len(target)) // size)
    for index in islice(shuffled(target, size, seed=seed), batches):
        yield target.batch(index)[0]


def shuffled(target: Split, size: int, *, seed: int) -> Iterator[Tensor]:
    """Indices (size,) of batches in random order: files are often sorted by class. An incomplete last batch is dropped."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "target statistics"))
    order = torch.randperm(len(target), generator=generator).to(target.labels.device)
    return iter(order[: len(order) - len(order) % size].split(size))


def predictions(
    model: nn.Module, target: Split, order: Iterable[Tensor] | None = None
) -> tuple[float, NDArray[np.int64]]:
    """Mean loss and confusion matrix, with the batches and sums of `evaluate`.

    order: instead, indices of batches, each of which is normalized with its own statistics.
    """
    mode = evaluating(model) if order is None else batch_statistics(model)
    batches = target.batches(EVAL_BATCH_SIZE) if order is None else map(target.batch, order)
    sums, pairs = [], []
    with mode, torch.inference_mode():
        for inputs, labels in batches:
            whole = inputs.is_cuda or order is not None
            logits = model(inputs) if whole else torch.cat([model(x) for x in inputs.split(CPU_BATCH_SIZE)])
            sums.append(F.cross_entropy(logits, labels, reduction="sum").double())
            pairs.append(labels * logits.shape[1] + logits.argmax(1))
        classes = logits.shape[1]
        confusion = torch.bincount(torch.cat(pairs).cpu(), minlength=classes**2).reshape(classes, classes)
        loss = torch.stack(sums).sum(0).item()
    return loss / int(confusion.sum()), confusion.numpy()


def trained_model(directory: Path, config: Config) -> nn.Module:
    """The network in a run's last checkpoint, on the CPU, in evaluation mode. Raises ConfigError for an unusable checkpoint."""
    model = _with_weights(directory, config, _checkpoint(directory, config))
    return to_device(model, torch.device("cpu")).eval()


def _with_weights(directory: Path, config: Config, state: Mapping[str, Any]) -> nn.Module:
    model = build_model(config)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ConfigError(f"{show(directory)}: the checkpoint does not match the run's config.") from error
    return model
