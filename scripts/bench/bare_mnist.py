"""Handwritten training equivalent to `normexp train data=mnist model=mlp epochs=1`, without normexp and without logging.

    python scripts/bench/bare_mnist.py DIR [STEPS]

DIR has MNIST in torchvision's layout. STEPS ends the epoch earlier. scripts/bench/memory.py compares the memory of the two: as
in normexp the images stay bytes, and each batch is standardized when it is used.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH_SIZE, EVAL_BATCH_SIZE, VAL_SIZE = 64, 500, 6_000


def read(path: Path) -> Tensor:
    """Read the bytes of an idx file, whose header is an int32 for the type and one per dimension."""
    content = np.fromfile(path, np.uint8)
    dimensions = content[3]
    shape = content[4 : 4 + 4 * dimensions].view(">i4").tolist()
    return torch.from_numpy(content[4 + 4 * dimensions :].reshape(shape))


def net() -> nn.Module:
    parts: list[nn.Module] = [nn.Flatten()]
    for inputs in (784, 100, 100):
        parts += [nn.Linear(inputs, 100, bias=False), nn.BatchNorm1d(100), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(100, 10))


def main() -> None:
    torch.manual_seed(0)
    raw = Path(sys.argv[1]) / "MNIST" / "raw"
    images, labels = read(raw / "train-images-idx3-ubyte"), read(raw / "train-labels-idx1-ubyte").long()
    test_images, test_labels = read(raw / "t10k-images-idx3-ubyte"), read(raw / "t10k-labels-idx1-ubyte").long()
    order = torch.randperm(len(images))
    val, train = order[:VAL_SIZE], order[VAL_SIZE:]
    counts = torch.stack([torch.bincount(images[part].flatten(), minlength=256) for part in train.split(1000)]).sum(0)
    values = torch.arange(256.0)
    mean = (counts * values).sum() / counts.sum()
    std = ((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt()

    def standardized(x: Tensor) -> Tensor:
        return torch.sub(x, mean).div_(std)

    def accuracy(batches: Iterator[tuple[Tensor, Tensor]]) -> float:
        model.eval()
        with torch.no_grad():
            correct = [(model(standardized(x)).argmax(1) == y) for x, y in batches]
        model.train()
        return torch.cat(correct).float().mean().item()

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else len(train) // BATCH_SIZE
    train = train[torch.randperm(len(train))]
    for index in train.split(BATCH_SIZE)[:steps]:
        loss = F.cross_entropy(model(standardized(images[index])), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    val_accuracy = accuracy((images[index], labels[index]) for index in val.split(EVAL_BATCH_SIZE))
    test = zip(test_images.split(EVAL_BATCH_SIZE), test_labels.split(EVAL_BATCH_SIZE), strict=True)
    print(f"val accuracy {val_accuracy:.4f}  test accuracy {accuracy(test):.4f}")


if __name__ == "__main__":
    main()
