"""What Hydra's launchers return for each run, without what a sweep has no use for."""

from __future__ import annotations

from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback


class DropConfigs(Callback):
    """Drops the configs from a job's result, in the process that ran it: the driver keeps the results of all runs."""

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None


def callbacks(cfg: Any) -> Callbacks:
    """The callbacks of a sweep's config, and this one."""
    found = Callbacks(cfg)
    found.callbacks.append(DropConfigs())
    return found
