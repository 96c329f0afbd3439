"""normexp.train and normexp.build."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.api.console import run_console
from normexp.api.run import Run, load
from normexp.api.words import compose_run, one_at_a_time, to_words
from normexp.config import show

if TYPE_CHECKING:
    from torch import nn


class TrainingError(RuntimeError):
    """A run failed, as when memory or disk space ran out. `directory` is its run directory; train.log there has the traceback."""

    def __init__(self, message: str, directory: Path) -> None:
        super().__init__(message)
        self.directory = directory


def train(*words: str, config_dir: str | Path | None = None, quiet: bool = False, **keys: Any) -> Run:
    """Train a network, as `normexp train` does, and return the run.

    words, keys: what differs from the defaults, as `"norm=bn"` or `lr=0.1`. A key with a dot is a word, `"optim.momentum=0.9"`,
    or in a mapping: `**{"optim.momentum": 0.9}`. config_dir: a folder with choices of your own. quiet: print no progress.

    The same config and seed give the same bits as the command. The caller's torch settings and random numbers neither change
    the run nor are changed by it. Trainings in several threads run one after another.

    Raises ConfigError, with the sentence that the command prints and with nothing written, for wrong arguments; TrainingError
    if the run fails; KeyboardInterrupt after Ctrl-C, when the checkpoint is saved. A run that diverges is a result: its `state`
    is `diverged`.
    """
    with one_at_a_time:
        composed = compose_run(to_words(words, keys), config_dir)
        from normexp.training.isolation import own_global_state
        from normexp.training.new_run import train_new_run

        console = run_console(quiet=quiet)
        with own_global_state():
            command = ["normexp", "train", *composed.argv]
            result = train_new_run(composed.config, composed.tree, composed.overrides, command=command, console=console)
    if result.state == "failed":
        raise TrainingError(f"{show(result.directory, 300)} failed: {result.error}", result.directory)
    if result.state == "interrupted":
        if result.signal == signal.SIGTERM:
            os.kill(os.getpid(), signal.SIGTERM)  # the caller's own handler, or the end of the process
        raise KeyboardInterrupt(f"to continue the run: normexp resume {show(result.directory, 300)}")
    return load(result.directory)


def build(*words: str, config_dir: str | Path | None = None, **keys: Any) -> "nn.Module":
    """Build a network with its initial weights, without training it.

    words, keys, config_dir: as in `normexp.train`. Returns the network in training mode, on the CPU; it maps inputs (B, C, H, W),
    or (B, F), to logits (B, classes). Loads data only if `init.input_std` is set. Raises ConfigError.
    """
    with one_at_a_time:
        config = compose_run(to_words(words, keys), config_dir).config
        import torch

        from normexp.data.splits import load as load_data
        from normexp.models.build import build_model
        from normexp.training.build import rescale_to_data, to_device
        from normexp.training.isolation import own_global_state

        with own_global_state():
            model, cpu = build_model(config), torch.device("cpu")
            if config.init.input_std is not None:
                rescale_to_data(model, config, load_data(config, cpu).train)
            return to_device(model, cpu)
