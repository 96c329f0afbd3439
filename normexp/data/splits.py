"""Training, validation and test data as tensors on the device. A batch is an index into them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normexp.config import Config, ConfigError, DataConfig
from normexp.data import DATA, floats
from normexp.data.base import Arrays, stratified, value_counts
from normexp.data.batches import Augment
from normexp.data.cache import release
from normexp.data.pixels import pixel_scales
from normexp.data.zca import whitened, whitening_matrix, zca
from normexp.streams import stream_seed

CHUNK_BYTES = 2**20  # bytes of images to read from a memory map at a time
MAX_CACHED_BYTES = 2**26  # largest float32 inputs to cache for a split that is evaluated repeatedly


@dataclass(frozen=True, repr=False)
class Split:
    """Images uint8 (N, C, H, W) and labels int64 (N,) on the device, and the constants of their preprocessing.

    Inputs are (image - mean) / std with mean and std (1, C, 1, 1) or (1, C, H, W) in units of a pixel, or W (image - mean) with
    mean (1, C, H, W) and W = whitening (C H W, C H W). Images are stored as bytes: they take a quarter of the memory, and
    preprocessing a batch is cheap. Other data is float32: images, or vectors (N, F), for which mean and std are (1, F).
    cache_inputs: cache the preprocessed inputs of a small split that is evaluated repeatedly.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    whitening: Tensor | None = None
    cache_inputs: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self)} samples of shape {tuple(self.images.shape[1:])})"

    def batch(self, index: Tensor, augment: Augment | None = None) -> tuple[Tensor, Tensor]:
        """Inputs float32 (B, C, H, W), or (B, F), and labels (B,) of the samples at `index`."""
        images = self.images.index_select(0, index)
        if augment is not None:
            images = augment(images)
        return self._inputs(images), self.labels.index_select(0, index)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All samples in order. The last batch may be smaller."""
        cached = self.cache_inputs and 4 * self.images.numel() <= MAX_CACHED_BYTES
        inputs = self._cached_inputs.split(batch_size) if cached else map(self._inputs, self.images.split(batch_size))
        return zip(inputs, self.labels.split(batch_size), strict=True)

    @property
    def inputs(self) -> Tensor:
        """All samples as the network gets them, float32 (N, C, H, W) or (N, F)."""
        return self._inputs(self.images)

    @cached_property
    def _cached_inputs(self) -> Tensor:
        with torch.inference_mode(False):  # the cache outlives the evaluation
            return self._inputs(self.images)

    def _inputs(self, images: Tensor) -> Tensor:
        centered = torch.sub(images, self.mean)
        return centered.div_(self.std) if self.whitening is None else whitened(centered, self.whitening)


@dataclass(frozen=True)
class Splits:
    """Training, validation and test data. fingerprint: checksum of their images and labels, in order."""

    train: Split
    val: Split
    test: Split
    fingerprint: str


def load(config: Config, device: torch.device) -> Splits:
    """Load and split the config's data. Raises ConfigError if its files are missing or damaged."""
    data = DATA[config.data.name]
    splits = split(data.load(config.data, Path(config.data_dir).expanduser()), config, device)
    if len(splits.train) < config.batch_size:  # damaged files were left out
        raise ConfigError(
            f"batch_size={config.batch_size}: only {len(splits.train)} training samples can be read. Use a smaller batch_size."
        )
    return splits


def split(arrays: Arrays, config: Config, device: torch.device) -> Splits:
    """Split off the validation samples from the training data, by the seed, and move all parts to the device. Mean, standard
    deviation and covariance are computed from the training samples only."""
    train, val = split_indices(arrays.train_labels, config)
    test = np.arange(len(arrays.test_labels))
    if config.data.test_size is not None:
        test, _ = stratified(arrays.test_labels, min(config.data.test_size, len(test)), np.random.default_rng(0))
    images, val_images = gather(arrays.train_images, train), gather(arrays.train_images, val)
    offset, scale, whitening = np.zeros(1), np.full(1, float(arrays.scale)), None
    is_bytes = images.dtype == np.uint8 and images.ndim == 4  # their statistics are exact
    if not is_bytes and config.data.inputs != "raw":
        offset, scale, whitening = float_constants(images, config.data, device)
    elif config.data.inputs == "standardize":
        if arrays.counts is None or config.data.train_size is not None:
            counts = value_counts(images, arrays.scale)
        else:  # cheaper: subtract the counts of the validation samples, which are fewer
            counts = arrays.counts - value_counts(val_images, arrays.scale)
        offset, scale = moments(counts)
    elif config.data.inputs == "standardize_pixel":
        offset, scale = pixel_scales(images, eps=config.data.zca_eps)
    elif config.data.inputs == "zca":
        offset, matrix = zca(images, arrays.scale, eps=config.data.zca_eps)
        whitening = torch.from_numpy(matrix).float().to(device)
    mean, std = (
        torch.from_numpy(m).float().reshape(1, *m.shape, *[1] * (images.ndim - 1 - m.ndim)).to(device)
        for m in (offset, scale)
    )
    parts = {
        "train": (images, arrays.train_labels[train]),
        "val": (val_images, arrays.train_labels[val]),
        "test": (gather(arrays.test_images, test), arrays.test_labels[test]),
    }
    tensors = {name: [torch.from_numpy(array).to(device) for array in part] for name, part in parts.items()}
    splits = {name: Split(x, y, mean, std, whitening, cache_inputs=name == "val") for name, (x, y) in tensors.items()}
    checksums = (google_crc32c.value(np.ascontiguousarray(array)) for part in parts.values() for array in part)
    return Splits(**splits, fingerprint="".join(f"{checksum:08x}" for checksum in checksums))


def float_constants(
    images: NDArray[np.float32] | NDArray[np.uint8], config: DataConfig, device: torch.device
) -> tuple[NDArray[np.float64], NDArray[np.float64], Tensor | None]:
    """Mean, standard deviation and whitening of images that are not bytes, or of vectors, for `data.inputs`."""
    if config.inputs == "standardize":
        return *floats.channel_moments(images), None
    if config.inputs == "standardize_pixel":
        return *floats.value_scales(images, eps=config.zca_eps), None
    mean, covariance = floats.covariance(images)
    matrix = torch.from_numpy(whitening_matrix(covariance, eps=config.zca_eps)).float().to(device)
    return mean.reshape(images.shape[1:]), np.ones(1), matrix


def split_indices(labels: NDArray[np.int64], config: Config) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the training and of the validation samples: stratified, disjoint, determined by the seed."""
    rng = np.random.default_rng(stream_seed(config.seed, "split"))
    val, train = stratified(labels, round(config.data.val_size * len(labels)), rng)
    if config.data.train_size is not None:
        part, _ = stratified(labels[train], min(config.data.train_size, len(train)), rng)  # fewer if some were damaged
        train = train[part]
    return train, val


def sample(split: Split, size: int | None, *, seed: int) -> Split:
    """A fixed, stratified part of a split, determined by the seed. The whole split if it has no more than `size` samples."""
    if size is None or size >= len(split):
        return split
    rng = np.random.default_rng(stream_seed(seed, "evaluation"))
    part, _ = stratified(split.labels.numpy(force=True), size, rng)
    index = torch.from_numpy(part).to(split.labels.device)
    return replace(split, images=split.images[index], labels=split.labels[index])


def gather(images: NDArray[Any], index: NDArray[np.intp]) -> NDArray[Any]:
    """images[index], read in storage order, so that only a chunk of the memory map is in memory at a time."""
    gathered = np.empty((len(index), *images.shape[1:]), dtype=images.dtype)
    order = np.argsort(index)
    samples = max(1, CHUNK_BYTES // images[0].nbytes)
    edges = np.searchsorted(index, np.arange(samples, len(images), samples), sorter=order)
    for part in np.split(order, edges):
        gathered[part] = images[index[part]]
        release(images)
    return gathered


def moments(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel, (C,) each, in units of a pixel, from value counts (C, scale + 1).

    A constant channel gets std 1.
    """
    values = np.arange(counts.shape[1])
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(axis=1)
    return mean, np.sqrt(np.where(variance > 0, variance, 1.0))
