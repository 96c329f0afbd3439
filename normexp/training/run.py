"""One run, from a valid config to a finished run directory."""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console

from normexp import rundir
from normexp.config import Config, ConfigError, show
from normexp.data.sizes import sizes
from normexp.environment import environment
from normexp.record import About, Chart, Record, Sink
from normexp.sinks.jsonl import JsonLines
from normexp.sinks.sheet import Sheet
from normexp.sinks.tensorboard import TensorBoard
from normexp.sinks.terminal import Terminal
from normexp.training import checkpoint
from normexp.training.build import Parts, build
from normexp.training.choices import hyperparameters
from normexp.training.trainer import Progress, fit

logger = logging.getLogger("normexp")


@dataclass(frozen=True)
class Result:
    """What became of a run. signal: the one that interrupted it."""

    directory: Path
    state: rundir.State
    error: str | None
    metrics: Mapping[str, float | None]
    signal: int | None = None


def run(
    config: Config,
    *,
    make_directory: Callable[[], Path],
    diff: Mapping[str, Any],
    command: list[str],
    console: Console,
    texts: Mapping[str, str] | None = None,
) -> Result:
    """Train the config's network in the directory that `make_directory` makes, once its parts are there.

    diff: what of the config differs from the defaults. texts: more to read beside the config, in Markdown by title.
    Raises ConfigError, with nothing written, where the data or the directory can't be had. Whatever else goes wrong ends
    as a result with the state `failed`; its traceback is in train.log.
    """
    started = rundir.now()
    began = time.monotonic()
    progress = Progress(sizes(config).total_steps)
    parts = _build(config)
    directory = make_directory()

    def write_status(state: rundir.State, error: str | None = None) -> None:
        rundir.write_status(
            directory,
            state=state,
            step=progress.step,
            total_steps=progress.total_steps,
            seconds=time.monotonic() - began,
            metrics=progress.scalars,
            error=error,
            started=started,
        )

    sinks: list[Sink] = []
    stop = Interrupt()
    state: rundir.State = "failed"
    error: str | None = None
    with _logging_to(directory / "train.log"):
        try:
            write_status("running")
            if isinstance(parts, Exception):
                raise parts
            _describe(directory, parts, config, diff, command)
            sinks += open_sinks(directory, about(parts, config, diff, texts or {}), console, parts.sizes.total_steps)

            def log(record: Record) -> None:
                for sink in sinks:
                    sink.log(record)
                if "val/accuracy" in record.scalars:
                    logger.info("step %d: %s", record.step, _brief(record.scalars))
                    write_status("running")

            with stop.handling():
                outcome = fit(parts, config, progress, log=log, interrupted=lambda: stop.signal is not None)
                checkpoint.save(directory / "checkpoint.pt", parts, progress.step)
            state, error = outcome.state, outcome.error
        except KeyboardInterrupt:
            state, stop.signal = "interrupted", stop.signal or signal.SIGINT
        except BaseException as exception:
            error = f"{type(exception).__name__}: {exception}"
            logger.error("failed\n%s", traceback.format_exc())
            if not isinstance(exception, Exception):
                raise
        finally:
            write_status(state, error)
            for sink in sinks:
                with suppress(OSError):  # a full disk; what could be written is, and the status says how it ended
                    sink.close(success=state == "completed")
            reason = f": {error}" if error else ""
            logger.info("%s after %d of %d steps%s", state, progress.step, progress.total_steps, reason)
    return Result(directory, state, error, dict(progress.scalars), stop.signal)


def open_sinks(directory: Path, about: About, console: Console, total_steps: int) -> list[Sink]:
    """All that a run writes to and shows, in the order in which they are to be closed."""
    tensorboard = TensorBoard(directory, about)
    return [
        JsonLines(directory / "metrics.jsonl"),
        Sheet(directory / "histograms.png", partial(tensorboard.picture, "histograms")),
        tensorboard,
        Terminal(console, total_steps),
    ]


def about(parts: Parts, config: Config, diff: Mapping[str, Any], texts: Mapping[str, str]) -> About:
    """What TensorBoard shows of a run beside its measurements."""
    texts = {
        **texts,
        "config": f"```yaml\n{rundir.to_yaml(dataclasses.asdict(config))}```",
        "config that differs from the defaults": f"```yaml\n{rundir.to_yaml(diff)}```" if diff else "nothing",
    }
    charts = [
        Chart("Whole network", "loss", lines=["train/loss", "val/loss$"]),
        Chart("Whole network", "accuracy", lines=["train/accuracy", "val/accuracy$", "val/accuracy_batch_statistics"]),
        Chart("Whole network", "gradient of all parameters of a layer", lines=["grad_norm/.*"]),
        *parts.probes.charts(),
    ]
    return About(hyperparameters(config), HPARAM_METRICS, texts, charts)


def _build(config: Config) -> Parts | Exception:
    """The parts, or why they can't be had (no memory, say): that is a failed run like others, and no reason to stop a sweep."""
    try:
        return build(config)
    except ConfigError:
        raise
    except Exception as exception:
        return exception


HPARAM_METRICS = [
    "test/accuracy",
    "test/loss",
    "convergence/best_accuracy",
    "convergence/area_under_curve",
    "train/loss",
]


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a request to stop after the step; a second one stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    @contextmanager
    def handling(self) -> Iterator[None]:
        if (
            threading.current_thread() is not threading.main_thread()
        ):  # Python delivers signals to the main thread alone
            yield
            return
        before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{'norm': 'bn', 'norm.eps': 1e-5, ...}: a group's name stands under the group itself, as on the command line."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {key: value["name"]} if "name" in value else {}  # a difference may be of other keys alone
            flat |= {f"{key}.{name}": item for name, item in value.items() if name != "name"}
        else:
            flat[key] = value
    return flat


def _describe(directory: Path, parts: Parts, config: Config, diff: Mapping[str, Any], command: list[str]) -> None:
    """The files that say what the run is."""
    device = torch.cuda.get_device_name(parts.device) if parts.device.type == "cuda" else "cpu"
    threads = torch.get_num_threads()
    rundir.write_text(directory / "config.yaml", rundir.to_yaml(dataclasses.asdict(config)))
    rundir.write_text(directory / "config_diff.yaml", rundir.to_yaml(diff))
    made_with = environment(command, device=device, threads=threads)
    rundir.write_text(directory / "environment.json", rundir.to_json(made_with, indent=2) + "\n")
    parameters = sum(p.numel() for p in parts.model.parameters())
    what = ", ".join(f"{key}={show(value)}" for key, value in flatten(diff).items()) or "the defaults"
    logger.info("%s; %d parameters, %s, %d threads", what, parameters, device, threads)


def _brief(scalars: Mapping[str, float | None]) -> str:
    tags = ("train/loss", "val/loss", "val/accuracy", "test/accuracy")
    return ", ".join(f"{tag} {scalars[tag]:.4g}" for tag in tags if scalars.get(tag) is not None)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Everything that this run's process logs or warns of goes to the file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.setLevel(logging.INFO)
    loggers = [logger, logging.getLogger("py.warnings")]
    for each in loggers:
        each.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for each in loggers:
            each.removeHandler(handler)
        handler.close()
