"""`tracker=wandb`: Weights & Biases."""

import os
import shlex
import uuid
from collections.abc import Sequence
from pathlib import Path

from normexp.sinks.trackers.base import PROJECT, Entry, RunDescription

DEFAULTS = {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}


class WandbRun:
    """A run in the project $WANDB_PROJECT. Unless $WANDB_MODE is `online`, nothing is sent until `wandb sync`."""

    def __init__(self, run: RunDescription, known_id: str | None) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        import wandb

        self._directory = run.directory
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,  # of the current folder, which need not be normexp's; environment.json has normexp's commit
            symlink=False,
            x_disable_stats=True,  # of this process, not of the training
        )
        online = os.environ["WANDB_MODE"] == "online"
        self.id, self.resumed = known_id or uuid.uuid4().hex[:12], known_id is not None
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=self.id,
            resume="allow" if online else None,  # offline, the id is enough
            name=run.name,
            group=run.group,
            config=dict(run.config),
            settings=settings,
        )
        offline = f"wandb sync {shlex.quote(str(Path(self._run.dir).parents[1]))}/offline-run-*-{self.id}"
        self.where = self._run.url or offline

    def log(self, entries: Sequence[Entry]) -> None:
        import wandb

        for entry in entries:
            histograms = {
                tag: wandb.Histogram(np_histogram=(counts, edges)) for tag, (edges, counts) in entry.histograms.items()
            }
            self._run.log({**entry.scalars, **histograms}, step=entry.step)

    def finish(self, files: Sequence[Path], step: int, *, success: bool | None) -> None:
        import wandb

        for path in files:
            self._run.save(str(path), base_path=str(path.parent), policy="now")
            if path.suffix == ".png":
                self._run.log({path.stem: wandb.Image(str(path))}, step=step)
        self._run.finish(exit_code=0 if success else 1)
        wandb.teardown()
