"""A Hydra callback that keeps the results of launched runs small."""

from __future__ import annotations

from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback


class DropConfigs(Callback):
    """Drop the configs from a job's result, in the process that ran it: the driver keeps the results of all runs in memory."""

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None


def sweep_callbacks(cfg: Any) -> Callbacks:
    """The callbacks of a sweep's config and DropConfigs."""
    callbacks = Callbacks(cfg)
    callbacks.callbacks.append(DropConfigs())
    return callbacks
