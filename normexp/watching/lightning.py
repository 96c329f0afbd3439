"""Callback for Lightning's Trainer: `Trainer(callbacks=[WatchCallback(every=100, directory="runs/mine")])`."""

import math
from collections.abc import Mapping
from typing import Any

try:
    from lightning.pytorch import Callback
except ModuleNotFoundError:
    from pytorch_lightning import Callback

from normexp.watching.session import Watch, watch
from normexp.watching.tags import report_tags


class WatchCallback(Callback):  # type: ignore[misc]
    """Watches the training of a LightningModule.

    options: of `watch`; accumulate, total_steps and scaler are the Trainer's. Logs the loss of each step, and the metrics that
    the module logs in validation, val_loss and val_acc as val/loss and val/accuracy. watch: of the current or last training.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.watch: Watch | None = None
        self._lr: float | None = None
        self._steps = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            total, self._steps = trainer.estimated_stepping_batches, trainer.global_step
            found = {
                "accumulate": trainer.accumulate_grad_batches,
                "total_steps": int(total) - self._steps if 0 < total < math.inf else None,
                "scaler": getattr(trainer.precision_plugin, "scaler", None),
            }
            self.watch = watch(pl_module, **{**found, **self.options})

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if self.watch is not None:
            self._lr = optimizer.param_groups[0]["lr"]
            self.watch.after_backward()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.watch is not None and trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self.watch.step(loss=outputs.get("loss") if isinstance(outputs, Mapping) else outputs, lr=self._lr)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self.watch is not None and not trainer.sanity_checking:
            self.watch.log(report_tags({k: v for k, v in trainer.callback_metrics.items() if "val" in k}))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self.watch is not None:
            self.watch.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self.watch is not None:
            self.watch.__exit__(type(exception), exception, None)
