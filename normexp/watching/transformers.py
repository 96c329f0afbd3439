"""Callback for Hugging Face's Trainer: `Trainer(..., callbacks=[WatchCallback(every=100, directory="runs/mine")])`."""

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from normexp.watching.session import Watch, watch
from normexp.watching.tags import report_tags


class WatchCallback(TrainerCallback):  # type: ignore[misc]
    """Watches the training of a model.

    options: of `watch`; accumulate, total_steps and scaler are the Trainer's. Logs the losses that the Trainer logs, every
    `logging_steps`, and the metrics of its evaluations, eval_loss and eval_accuracy as val/loss and val/accuracy. watch: of the
    current or last training.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.watch: Watch | None = None
        self._lr: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        if state.is_world_process_zero:
            found = {
                "accumulate": args.gradient_accumulation_steps,
                "total_steps": state.max_steps - state.global_step or None,
                "scaler": getattr(parts.get("optimizer"), "scaler", None),
            }
            self.watch = watch(parts["model"], **{**found, **self.options})

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        if self.watch is not None:
            self._lr = parts["optimizer"].param_groups[0]["lr"]

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        if self.watch is not None:
            self.watch.step(lr=self._lr)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **parts: Any) -> None:
        if self.watch is not None and not self.watch.closed:
            shown = {k: v for k, v in (logs or {}).items() if k == "loss" or k.startswith("eval_")}
            self.watch.log(report_tags(shown))

    def on_train_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        if self.watch is not None:
            self.watch.close()
