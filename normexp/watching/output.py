"""The run directory of a watched training."""

import re
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from normexp import rundir
from normexp.config import ConfigError, show
from normexp.records import Hyperparameter, Record, RunInfo, Sink
from normexp.rundir import State, atomic
from normexp.rundir.environment import environment
from normexp.rundir.status import replace_status, status_text
from normexp.sinks.histogram_sheet import HistogramSheet
from normexp.sinks.jsonl import JsonLines
from normexp.sinks.tensorboard import TensorBoard

STATUS_SECONDS = 10.0  # how often status.json is renewed, so that normexp runs shows the step

METRICS = ("val/accuracy", "val/loss", "train/loss")  # columns of TensorBoard's HPARAMS page


class Output:
    """Writes what reports read: config.yaml, environment.json, metrics.jsonl, the event file, the histogram sheet, status.json
    and train.log."""

    def __init__(self, directory: Path, config: Mapping[str, Any], info: RunInfo, *, device: torch.device) -> None:
        """Create the directory, or one with a number if it exists. Raises ConfigError and WriteError."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        details = environment(sys.argv, device=name, threads=torch.get_num_threads())
        files = {"environment.json": rundir.to_json(details, indent=2) + "\n", "config.yaml": rundir.to_yaml(config)}
        self._start, self._started, self._written = time.monotonic(), rundir.now(), time.monotonic()
        self._scalars: dict[str, float | None] = {}
        files["status.json"] = self._status("running", 0, 0)
        try:
            rundir.check_name(directory.name)
            self.directory = rundir.create_run_directory(directory.parent, directory.name, files)
        except ConfigError as error:  # it names the keys of normexp train
            raise ConfigError(f"directory={re.sub(r'^(runs_dir|name)=', '', str(error))}") from error
        if config.get("run") not in (None, self.directory.name):
            rundir.write_run_files(
                self.directory, {"config.yaml": rundir.to_yaml({**config, "run": self.directory.name})}
            )
        self._guard = atomic.DirectoryGuard(self.directory)
        self._log_file = self.directory / "train.log"
        tensorboard = TensorBoard(self.directory, info)
        subtitle = (
            f"model={config['model']['name']}" if isinstance(config["model"], dict) else f"model={config['model']}"
        )
        sheet = HistogramSheet(
            self.directory / "histograms.png",
            subtitle,
            lambda picture, step: tensorboard.picture("histograms", picture, step),
        )
        self._sinks: list[Sink] = [JsonLines(self.directory / "metrics.jsonl"), sheet, tensorboard]

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def note(self, text: str) -> None:
        """Add a line to train.log."""
        with self._log_file.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def log(self, record: Record, total_steps: int) -> None:
        self._scalars.update(record.scalars)
        for sink in self._sinks:
            sink.log(record)
        if time.monotonic() - self._written > STATUS_SECONDS:
            self._written = time.monotonic()
            self._guard.check()
            replace_status(self.directory, self._status("running", record.step, total_steps))

    def close(self, state: State, error: str | None, step: int, total_steps: int) -> None:
        """Close the sinks, then write the final status."""
        with ExitStack() as stack:
            stack.callback(self._finish, state, error, step, total_steps)
            for sink in reversed(self._sinks):
                stack.callback(sink.close, success=state == "completed")
            self._guard.check()

    def _finish(self, state: State, error: str | None, step: int, total_steps: int) -> None:
        self._guard.check()
        self.note(f"{state} after {step} steps{f': {error}' if error else ''}")
        replace_status(self.directory, self._status(state, step, total_steps, error))

    def _status(self, state: State, step: int, total_steps: int, error: str | None = None) -> str:
        progress: dict[str, Any] = {"step": step, "total_steps": total_steps, "seconds": self.seconds()}
        return status_text(state, error, **progress, metrics=self._scalars, started=self._started)


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Hyperparameter]:
    """Columns of TensorBoard's HPARAMS page."""
    kinds = {bool: bool, int: float, float: float}
    shown = {key: value for key, value in config.items() if not isinstance(value, dict)}
    return {
        key: Hyperparameter(
            kind := kinds.get(type(value), str), None if value is None else show(value) if kind is str else kind(value)
        )
        for key, value in shown.items()
    }


def check_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A user's settings for config.yaml. Raises ConfigError for what yaml can't hold or a report can't show."""
    for key, value in config.items():
        if not isinstance(key, str):
            raise ConfigError(f"config: {show(key)} must be a string, such as 'lr'.")
        values = value if isinstance(value, list | tuple) else [value]
        if not all(item is None or type(item) in (bool, int, float, str) for item in values):
            raise ConfigError(f"config: {show(key)} must be a number, a string, true, false, null or a list of these.")
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}


def describe(error: BaseException) -> str:
    """'ValueError: ...', on one line."""
    return " ".join(traceback.format_exception_only(error)[-1].split())
