"""The job of scripts/bench/job.py in idiomatic Lightning.

A LightningModule, torchvision's MNIST and transforms, DataLoaders, TensorBoardLogger, validation after the epoch, Lightning's
own checkpoint and progress bar, and a test.

    python scripts/bench/peer_lightning.py DATA_DIR FOLDER [--workers N] [--steps N]

DATA_DIR has MNIST in torchvision's layout. Logs and checkpoints are written to FOLDER. The last line of the output is a JSON
object with the number of steps, the seconds from the start of the imports to the end of each phase, and the test accuracy.

Written from the documentation of lightning 2.6 (LightningModule, Trainer, TensorBoardLogger).
"""

import argparse
import json
import time
from pathlib import Path

START = time.perf_counter()

from normexp.data.download import import_torchvision  # noqa: E402 - imports are timed, too

import_torchvision()  # before lightning, which imports it without this workaround

import lightning  # noqa: E402
import torch  # noqa: E402
from lightning.pytorch.loggers import TensorBoardLogger  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, random_split  # noqa: E402
from torchvision import datasets, transforms  # noqa: E402

BATCH_SIZE, LR, WIDTHS, VAL_SIZE = 128, 0.001, (64, 128, 64), 6_000


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in zip((784, *WIDTHS), WIDTHS, strict=False):
            parts += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
        self.net = nn.Sequential(*parts, nn.Linear(WIDTHS[-1], 10))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return self._log("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._log("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._log("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=LR)

    def _log(self, phase: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, labels = batch
        logits = self.net(inputs)
        loss = F.cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).float().mean()
        self.log_dict({f"{phase}/loss": loss, f"{phase}/accuracy": accuracy}, prog_bar=True, batch_size=len(labels))
        return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--steps", type=int, default=-1)
    arguments = parser.parse_args()

    lightning.seed_full(0)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    full = datasets.MNIST(arguments.data_dir, train=True, transform=transform)
    train, val = random_split(full, [len(full) - VAL_SIZE, VAL_SIZE])
    test = datasets.MNIST(arguments.data_dir, train=False, transform=transform)
    options = {"batch_size": BATCH_SIZE, "num_workers": arguments.workers, "persistent_workers": arguments.workers > 0}
    trainer = lightning.Trainer(
        max_epochs=1,
        max_steps=arguments.steps,
        accelerator="cpu",
        logger=TensorBoardLogger(arguments.folder),
        default_root_dir=arguments.folder,
    )
    model, seconds = Classifier(), {"imports": time.perf_counter() - START}
    train_loader = DataLoader(train, shuffle=True, drop_last=True, **options)
    trainer.fit(model, train_loader, DataLoader(val, **options))
    seconds["fit"], steps = time.perf_counter() - START, trainer.global_step
    (metrics,) = trainer.test(model, DataLoader(test, **options), verbose=False)
    seconds["test"] = time.perf_counter() - START
    print(json.dumps({"steps": steps, "seconds": seconds, "test/accuracy": metrics["test/accuracy"]}))


if __name__ == "__main__":
    main()
