"""`tracker=mlflow`. Histograms are not sent: MLflow has no type for them."""

import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from normexp.config import show
from normexp.sinks.trackers.base import PROJECT, Entry, RunDescription

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # MLflow's own values try for ten minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}

STATUS = {True: "FINISHED", False: "FAILED", None: "KILLED"}

KIND = {"mlflow.experimentKind": "custom_model_development"}  # otherwise MLflow opens its pages on language models

MAX_VALUE = 500  # characters of a parameter, in all versions of MLflow


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for, and hold, a lock on a folder. No lock on file systems that have none for folders."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class MLflowRun:
    """A run in the experiment $MLFLOW_EXPERIMENT_NAME of $MLFLOW_TRACKING_URI."""

    def __init__(self, run: RunDescription, known_id: str | None) -> None:
        self._start = int(time.time() * 1000)  # the import and a new database take seconds
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        import mlflow

        # Processes that create the tables of a new database at the same time break each other's migrations.
        with locked(Path.cwd()) if mlflow.get_tracking_uri().startswith("sqlite:") else nullcontext():
            self._client = mlflow.MlflowClient()
            self._client.search_experiments(max_results=1)
        self.resumed = known_id is not None and self._reopen(known_id)
        self.id = known_id if known_id is not None and self.resumed else self._create(run)
        uri, experiment = self._client.tracking_uri, self._client.get_run(self.id).info.experiment_id
        is_server = uri.startswith("http")
        self.where = (
            f"{uri}/#/experiments/{experiment}/runs/{self.id}" if is_server else f"mlflow ui --backend-store-uri {uri}"
        )

    def _reopen(self, run_id: str) -> bool:
        """Whether the run exists; it may have been deleted, or be in another store."""
        from mlflow.exceptions import MlflowException

        try:
            if self._client.get_run(run_id).info.lifecycle_stage != "active":
                return False
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        self._client.update_run(run_id, "RUNNING")
        return True

    def _create(self, run: RunDescription) -> str:
        from mlflow.entities import Param

        tags = {"directory": str(run.directory), **({"sweep": run.group} if run.group else {})}
        created = self._client.create_run(self._experiment(), self._start, tags, run.name)
        run_id: str = created.info.run_id
        self._client.log_batch(run_id, params=[Param(k, show(v, MAX_VALUE)) for k, v in run.config.items()])
        return run_id

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        try:
            experiment = self._client.get_experiment_by_name(name)
            return str(experiment.experiment_id if experiment else self._client.create_experiment(name, tags=KIND))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return str(self._client.get_experiment_by_name(name).experiment_id)  # another run was faster

    def log(self, entries: Sequence[Entry]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        names = {tag: re.sub(r"[^\w\-. :/]", "_", tag, flags=re.ASCII) for entry in entries for tag in entry.scalars}
        metrics = [
            Metric(names[tag], value, now, entry.step) for entry in entries for tag, value in entry.scalars.items()
        ]
        self._client.log_batch(self.id, metrics=metrics)

    def finish(self, files: Sequence[Path], step: int, *, success: bool | None) -> None:
        for path in files:
            self._client.log_artifact(self.id, str(path))
        self._client.set_terminated(self.id, STATUS[success])
