"""Three claims tested again in plain torch and NumPy, to check the verdicts of normexp.

    python scripts/bare_claims.py [norm-batch] [small-batch] [regularizer] [--verdicts runs/claims]

Reads MNIST from $NORMEXP_DATA_DIR (default: data). Takes one to two minutes on one core. Each claim is its first condition, in
one cell, as described by configs/claim and docs. With --verdicts, each difference is compared with the one in the verdict file of
`normexp claims run NAME`. They agree if they have the same sign and are at most 2.6 standard errors apart, both sides' seeds
counted; otherwise the exit code is 1.

Never import normexp here: the check is worth something only while the two share no code. Random numbers are different, too.
"""

import argparse
import functools
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = (100, 100, 100)
CLASSES = 10
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
VAL_SHARE = 0.05
EPS, MOMENTUM = 1e-5, 0.1  # of batch norm
CHOOSING = (9001, 9002, 9003)
"""Seeds that choose the learning rate of each arm."""

MAX_EXTENSIONS = 2
MAX_DISTANCE = 2.6
"""Largest distance of two effects that agree, in standard errors. Chance alone exceeds it in 1 % of cases with many seeds, in
about 3 % with five."""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    sharing: samples that share a mean and a variance; None: no batch norm. lr_batch: batch size that the learning rate is meant
    for. cosine: the learning rate falls along half a cosine.
    """

    name: str
    batch_size: int
    steps: int
    sharing: int | None
    lr_batch: int
    cosine: bool = False


@dataclass(frozen=True)
class Comparison:
    """The test accuracy of the first arm minus that of the second. Learning rates are tried at 10^(n/2), rounded, for each n of
    `halves`: 0.03, 0.1, 0.3, 1, ... test_size: None: all. cell: axis and value of the verdict's cell, if it has several."""

    first: Arm
    second: Arm
    halves: range
    train_size: int
    test_size: int | None
    cell: tuple[str, str] | None = None
    seeds: int = 5


GHOST = Arm("statistics of 2 samples", batch_size=128, steps=200, sharing=2, lr_batch=128, cosine=True)
ALL = replace(GHOST, name="statistics of all 128", sharing=128)
TWO = Arm("batch size 2", batch_size=2, steps=1500, sharing=2, lr_batch=64)
MANY = replace(TWO, name="batch size 64", batch_size=64, steps=46, sharing=64)
BN = Arm("bn", batch_size=50, steps=1000, sharing=50, lr_batch=50)
NONE = replace(BN, name="no norm", sharing=None)
COMPARISONS = {
    "norm-batch": Comparison(GHOST, ALL, range(-2, 2), 6000, 5000),
    "small-batch": Comparison(TWO, MANY, range(-3, 0), 3000, 3000, cell=("net", "mlp")),
    "regularizer": Comparison(BN, NONE, range(-3, 2), 500, None, cell=("activation", "relu"), seeds=8),
}


@dataclass(frozen=True)
class Effect:
    """A mean difference over seeds, as a fraction."""

    mean: float
    error: float
    seeds: int

    @classmethod
    def of(cls, differences: NDArray[np.float64]) -> "Effect":
        count = len(differences)
        return cls(float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(count), count)

    def __str__(self) -> str:
        half = float(stats.t.ppf(0.975, self.seeds - 1)) * self.error
        low, high = (100 * (self.mean + sign * half) for sign in (-1, 1))
        return f"{100 * self.mean:+.2f} points [{low:.2f}, {high:.2f}], {self.seeds} seeds"

    def distance(self, other: "Effect") -> float:
        """Between two effects, in standard errors of their difference."""
        return abs(self.mean - other.mean) / math.hypot(self.error, other.error)

    def agrees(self, other: "Effect") -> bool:
        return self.mean * other.mean > 0 and self.distance(other) <= MAX_DISTANCE


class BatchNorm(nn.Module):
    """Ioffe and Szegedy 2015, in each chunk of `sharing` samples (Hoffer et al. 2017). The running statistics are moved once per
    step, by the means over the chunks; the running variance is unbiased."""

    def __init__(self, features: int, sharing: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.sharing, self.mean, self.var = sharing, torch.zeros(features), torch.ones(features)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.gamma * (x - self.mean) / torch.sqrt(self.var + EPS) + self.beta
        chunks = x.reshape(-1, self.sharing, x.shape[1])
        mean = chunks.mean(dim=1, keepdim=True)
        var = ((chunks - mean) ** 2).mean(dim=1, keepdim=True)
        unbiased = var.detach().mean(dim=(0, 1)) * self.sharing / (self.sharing - 1)
        self.mean = (1 - MOMENTUM) * self.mean + MOMENTUM * mean.detach().mean(dim=(0, 1))
        self.var = (1 - MOMENTUM) * self.var + MOMENTUM * unbiased
        return self.gamma * ((chunks - mean) / torch.sqrt(var + EPS)).reshape(x.shape) + self.beta


def network(sharing: int | None, inputs: int) -> nn.Module:
    """Linear layers, batch norm or none, and relu, with torch's initial weights. A bias right before batch norm is left out."""
    parts: list[nn.Module] = []
    for fan_in, fan_out in zip((inputs, *HIDDEN[:-1]), HIDDEN, strict=True):
        parts.append(nn.Linear(fan_in, fan_out, bias=sharing is None))
        if sharing is not None:
            parts.append(BatchNorm(fan_out, sharing))
        parts.append(nn.ReLU())
    return nn.Sequential(*parts, nn.Linear(HIDDEN[-1], CLASSES))


@functools.cache
def read(path: Path) -> NDArray[np.uint8]:
    """The array of an idx file: two zero bytes, the type (8: bytes), the number of dimensions, each dimension as a big-endian
    int32, the values."""
    content = path.read_bytes()
    if content[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of bytes")
    shape = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def drawn(labels: NDArray[np.uint8], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """`count` random indices with each class in proportion: evenly spaced ones, from a random order sorted by class."""
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    return np.asarray(order[((np.arange(count) + random.random()) * len(labels) / count).astype(int)])


@functools.lru_cache(maxsize=3)
def data(comparison: Comparison, seed: int, folder: Path) -> list[tuple[Tensor, Tensor]]:
    """Inputs and labels for training, validation and test, standardized by the training samples' mean and std. The test set is
    the same for all seeds."""
    x, y, x_test, y_test = (read(folder / name) for name in FILES)
    random = np.random.default_rng([seed, 0])
    val = drawn(y, round(VAL_SHARE * len(y)), random)
    rest = np.setdiff1d(np.arange(len(y)), val)
    train = rest[drawn(y[rest], comparison.train_size, random)]
    test = drawn(y_test, comparison.test_size or len(y_test), np.random.default_rng(0))
    sets = (x[train], y[train]), (x[val], y[val]), (x_test[test], y_test[test])
    mean, std = x[train].mean(), x[train].std()
    return [
        (torch.tensor((a.reshape(len(a), -1) - mean) / std, dtype=torch.float32), torch.tensor(b, dtype=torch.int64))
        for a, b in sets
    ]


def batches(samples: int, arm: Arm, seed: int) -> Iterator[Tensor]:
    """Indices of each step's batch. Every epoch has a new order, without its incomplete last batch."""
    random, steps = np.random.default_rng([seed, 1]), arm.steps
    while steps > 0:
        epoch = random.permutation(samples)[: samples // arm.batch_size * arm.batch_size]
        yield from torch.from_numpy(epoch).split(arm.batch_size)[:steps]
        steps -= samples // arm.batch_size


def train(arm: Arm, lr: float, seed: int, sets: list[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Train by SGD without momentum; validation and test accuracy at the end. A diverged network guesses."""
    (x, y), *others = sets
    torch.manual_seed(seed)
    net = network(arm.sharing, x.shape[1])
    parameters = list(net.parameters())
    for step, batch in enumerate(batches(len(x), arm, seed)):
        loss = F.cross_entropy(net(x[batch]), y[batch])
        gradients = torch.autograd.grad(loss, parameters)
        rate = lr * arm.batch_size / arm.lr_batch
        if arm.cosine:
            rate *= (1 + math.cos(math.pi * step / arm.steps)) / 2
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(rate * gradient)
        if not torch.isfinite(loss):
            return 1 / CLASSES, 1 / CLASSES
    net.eval()
    with torch.no_grad():
        val, test = ((net(a).argmax(1) == b).double().mean().item() for a, b in others)
    return val, test


def lr_of(halves: int) -> float:
    """10^(halves / 2) with one digit: 1, 3, 10, ..."""
    return float(f"{(1, 3)[halves % 2]}e{halves // 2}")


def choose(comparison: Comparison, arm: Arm, folder: Path) -> float:
    """The learning rate with the highest validation accuracy over the choosing seeds. If it is the smallest or largest one, and
    better than its neighbor by more than a standard error, the next one is tried, twice at most."""

    def scores(halves: int) -> NDArray[np.float64]:
        return np.array([train(arm, lr_of(halves), seed, data(comparison, seed, folder))[0] for seed in CHOOSING])

    tried = {halves: scores(halves) for halves in comparison.halves}
    for extension in range(MAX_EXTENSIONS + 1):
        best = max(tried, key=lambda halves: float(tried[halves].mean()))
        outward = (best == max(tried)) - (best == min(tried))
        gain = Effect.of(tried[best] - tried[best - outward])
        if not outward or gain.mean <= gain.error or extension == MAX_EXTENSIONS:
            break
        tried[best + outward] = scores(best + outward)
    return lr_of(best)


def measure(comparison: Comparison, folder: Path) -> Effect:
    """Choose the learning rates, train both arms with each seed, and print what they reach."""
    accuracies = []
    for arm in (comparison.first, comparison.second):
        lr = choose(comparison, arm, folder)
        reached = [train(arm, lr, seed, data(comparison, seed, folder))[1] for seed in range(comparison.seeds)]
        print(f"  {arm.name}: lr {lr:g}, test accuracy {np.mean(reached):.2%}", flush=True)
        accuracies.append(np.array(reached))
    return Effect.of(accuracies[0] - accuracies[1])


def judged(path: Path, cell: tuple[str, str] | None) -> Effect:
    """The same effect in a verdict file: of the first condition, from the accuracies of the two arms."""
    point = dict([cell] if cell else [])
    cells = json.loads(path.read_text(encoding="utf-8"))["conditions"][0]["cells"]
    (values,) = (found["values"] for found in cells if found["cell"] == point)
    first, second = (np.array(numbers, dtype=np.float64) for numbers in values.values())
    return Effect.of(first - second)


def main(words: list[str] | None = None) -> int:
    """Measure the effects, and compare them with verdicts. Exit code 1: they differ; 2: files are missing or damaged."""
    parser = argparse.ArgumentParser(description="Three claims tested again in plain torch and NumPy.")
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"any of {', '.join(COMPARISONS)}; default: all")
    parser.add_argument("--verdicts", type=Path, metavar="DIR", help="compare with the verdict files in this folder")
    args = parser.parse_args(words)
    for name in args.claims:
        if name not in COMPARISONS:
            parser.error(f"unknown claim {name}; known ones: {', '.join(COMPARISONS)}")
    names = list(dict.fromkeys(args.claims)) or list(COMPARISONS)
    folder = Path(os.environ.get("NORMEXP_DATA_DIR", "data")).expanduser() / "MNIST" / "raw"
    for path in (folder / name for name in FILES):
        try:
            read(path)
        except OSError:
            parser.error(f"can't read {path}; set NORMEXP_DATA_DIR to a folder with MNIST, unpacked, in MNIST/raw")
        except ValueError:
            parser.error(f"{path} is damaged; copy it again")
    verdicts = dict[str, Effect]()
    for name in names if args.verdicts else ():
        path = args.verdicts / f"{name}.json"
        try:
            verdicts[name] = judged(path, COMPARISONS[name].cell)
        except OSError:
            parser.error(f"can't read {path}; normexp claims run {name} writes it")
        except (ValueError, LookupError, TypeError):
            parser.error(f"{path} has no accuracies of two arms; normexp claims run {name} --again writes it anew")
    torch.set_num_threads(1)
    agreed = True
    for name in names:
        comparison = COMPARISONS[name]
        print(f"{name}: {comparison.first.name} minus {comparison.second.name}")
        effect = measure(comparison, folder)
        print(f"  difference {effect}")
        if verdict := verdicts.get(name):
            agrees = effect.agrees(verdict)
            agreed &= agrees
            distance = f"{effect.distance(verdict):.1f} standard errors apart"
            print(f"  normexp    {verdict}: {'agrees' if agrees else 'DIFFERS'}, {distance}")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
