"""`tracker=trackio`."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from normexp.sinks.trackers.base import PROJECT, Entry, RunDescription

REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Environment variables that make trackio send runs somewhere. Without them, runs are stored in $TRACKIO_DIR."""


class TrackioRun:
    """A run in the project `normexp`."""

    def __init__(self, run: RunDescription, known_id: str | None) -> None:
        if not any(os.environ.get(name) for name in REMOTE):
            os.environ.setdefault("HF_HUB_OFFLINE", "1")  # it would ask Hugging Face for the user's name
        import trackio

        self._warning: str | None = None
        warnings.showwarning = self._note  # type: ignore[assignment]
        self.resumed = known_id is not None and _exists(known_id)
        self._run = trackio.init(
            project=PROJECT,
            name=run.name,
            group=run.group,
            config=dict(run.config),
            resume="must" if self.resumed else "never",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        if known_id is not None and self.resumed:
            self._run.id = known_id  # trackio resumes the newest run of that name
        self.id = self._run.id
        self.where = next(
            (os.environ[name] for name in REMOTE if os.environ.get(name)), f"trackio show --project {PROJECT}"
        )

    def _note(self, message: Warning | str, category: type[Warning], filename: str, *args: object) -> None:
        """trackio reports errors as warnings, some of them from threads."""
        print(message, file=sys.stderr)
        if category is UserWarning and "trackio" in Path(filename).parts:
            self._warning = self._warning or str(message)

    def _check(self) -> None:
        if self._warning is not None:
            raise RuntimeError(self._warning)

    def log(self, entries: Sequence[Entry]) -> None:
        import trackio

        self._check()
        for entry in entries:
            histograms = {
                tag: trackio.Histogram(np_histogram=(counts, edges))
                for tag, (edges, counts) in entry.histograms.items()
            }
            self._run.log({**entry.scalars, **histograms}, step=entry.step)

    def finish(self, files: Sequence[Path], step: int, *, success: bool | None) -> None:
        import trackio

        for path in files:
            if path.suffix == ".png":
                self._run.log({path.stem: trackio.Image(str(path))}, step=step)
        artifact = trackio.Artifact(f"run-{self.id}", type="run")
        for path in files:
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)
        self._run.finish()
        self._check()


def _exists(run_id: str) -> bool:
    import trackio

    try:
        return any(run.id == run_id for run in trackio.Api().runs(PROJECT))
    except ValueError:  # no such project
        return False
