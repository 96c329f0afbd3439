"""One run, from a valid config to a finished run directory."""

from __future__ import annotations

import atexit
import dataclasses
import gc
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from normexp import rundir
from normexp.config import Config, ConfigError, flatten, show
from normexp.data.sizes import sizes
from normexp.records import Record
from normexp.rundir import atomic
from normexp.rundir.environment import environment
from normexp.sinks.run_sinks import RunSinks
from normexp.training import checkpoint
from normexp.training.anomaly import detect_anomalies
from normexp.training.build import Parts, build, device_name
from normexp.training.log import logging_to
from normexp.training.profile import NullProfiler, profiling
from normexp.training.run_info import run_info
from normexp.training.signals import Interrupt
from normexp.training.state import TrainState
from normexp.training.status import Cause, StatusWriter, cause_of, describe_error
from normexp.training.trainer import Outcome, Trainer

logger = logging.getLogger("normexp")

# Skip the garbage collection at interpreter exit: with all of torch's objects it delays Ctrl-C by almost a second.
atexit.register(gc.freeze)


@dataclass(frozen=True)
class Result:
    """How a run ended. signal: the one that interrupted it. debug: from the config. cause: of a failure, if known."""

    directory: Path
    state: rundir.State
    error: str | None
    metrics: Mapping[str, float | None]
    signal: int | None = None
    debug: str | None = None
    cause: Cause | None = None


def run(
    config: Config,
    *,
    make_directory: Callable[[Mapping[str, str]], Path],
    diff: Mapping[str, Any],
    command: list[str],
    console: Console,
    saved: Mapping[str, Any] | None = None,
) -> Result:
    """Train a model by the config, or resume it from the checkpoint `saved`.

    make_directory: called with the first files (content by name) when model and data are ready; returns the run directory
    that holds them. diff: the keys in which the config differs from the defaults.

    Raises ConfigError, with nothing written, if the data or the directory are not available, and WriteError if the directory
    is not writable. Any other failure gives a result with the state `failed`, and its traceback is in train.log.
    """
    _announce(config, console)
    parts = _build(config)
    device = torch.device("cpu") if isinstance(parts, Exception) else parts.device
    state = TrainState(sizes(config).total_steps, device)
    notes = [] if saved is None else _restore(saved, parts, state, config)
    status = StatusWriter(state, seconds=saved["seconds"], started=saved["started"]) if saved else StatusWriter(state)
    files = _first_files(config, diff, command, device)
    directory = make_directory({**files, "status.json": status.text("running")})
    session = _Session(directory, config, state, status)
    with session.interrupt.handling(), ExitStack() as log_file:
        try:
            log_file.enter_context(logging_to(directory / "train.log"))
            if isinstance(parts, Exception):
                raise parts
            atomic.remove_temporaries(directory)
            _log_start(parts, diff, state.step, notes)
            info, saved_sinks = run_info(parts, config, diff), saved and saved["sinks"]
            session.train(parts, RunSinks(directory, info, console, state.total_steps, saved_sinks))
        except KeyboardInterrupt:
            session.outcome = Outcome("interrupted")
        except BaseException as exception:
            session.fail(exception)
            logger.error("failed\n%s", traceback.format_exc())
            if not isinstance(exception, Exception):
                raise
        finally:
            session.finish()
    return session.result()


class _Session:
    """A run whose directory exists: whatever happens now is written there."""

    def __init__(self, directory: Path, config: Config, train_state: TrainState, status: StatusWriter) -> None:
        self.directory, self.config, self.train_state, self.status = directory, config, train_state, status
        self.guard = atomic.DirectoryGuard(directory)
        self.interrupt = Interrupt()
        self.sinks: RunSinks | None = None
        self.outcome = Outcome("failed")

    def train(self, parts: Parts, sinks: RunSinks) -> None:
        self.sinks = sinks
        save = partial(self.save, parts, sinks)
        with _debugging(self.config, parts, self.directory) as profiler:
            trainer = Trainer(
                parts,
                self.config,
                state=self.train_state,
                log=partial(self.log, sinks),
                interrupted=self.interrupt.requested,
                save=save,
                profiler=profiler,
            )
            outcome = trainer.train()
        save()
        self.outcome = outcome

    def log(self, sinks: RunSinks, record: Record) -> None:
        evaluated = "val/accuracy" in record.scalars
        if evaluated:
            self.guard.check()
        sinks.log(record)
        if evaluated:
            logger.info("step %d: %s", record.step, _brief(record.scalars))
            self.status.write(self.directory, "running")

    def save(self, parts: Parts, sinks: RunSinks) -> None:
        self.guard.check()
        seconds, started = self.status.seconds, self.status.started
        checkpoint.save(self.directory, parts, self.train_state, self.config, sinks, seconds=seconds, started=started)

    def fail(self, error: BaseException) -> None:
        self.outcome = Outcome("failed", describe_error(error, self.config), cause_of(error))

    def finish(self) -> None:
        """Close the sinks, then write the final status: once it is there, nothing is left to write."""
        self.interrupt.finishing = True
        outcome = self.outcome
        try:
            if self.sinks is not None:
                # Another run may have the directory's name by now, whose sheet must not be overwritten.
                self.sinks.close(success=outcome.state == "completed", draw=self.guard.exists())
        finally:
            try:
                self.guard.check()
                self.status.write(self.directory, outcome.state, outcome.error)
                with suppress(atomic.WriteError):  # only a power cut could still lose it
                    atomic.fsync(self.directory / "status.json")
            except atomic.WriteError as failure:  # status.json still says `running`: readers will see a killed run
                if outcome.error is None:
                    self.fail(failure)
                else:
                    self.outcome = replace(outcome, state="failed")
            reason = f": {self.outcome.error}" if self.outcome.error else ""
            step, total = self.train_state.step, self.train_state.total_steps
            logger.info("%s after %d of %d steps%s", self.outcome.state, step, total, reason)

    def result(self) -> Result:
        outcome, metrics = self.outcome, dict(self.train_state.scalars)
        signal = self.interrupt.signal if outcome.state == "interrupted" else None
        return Result(self.directory, outcome.state, outcome.error, metrics, signal, self.config.debug, outcome.cause)


def _build(config: Config) -> Parts | Exception:
    """Build the parts, or return why that failed: out of memory, say, is a failed run, and no reason to stop a sweep."""
    try:
        return build(config)
    except ConfigError:
        raise
    except Exception as exception:
        return exception


def _restore(saved: Mapping[str, Any], parts: Parts | Exception, state: TrainState, config: Config) -> list[str]:
    """Call `checkpoint.restore`. Any error becomes a ConfigError, since the run keeps the state that it had."""
    try:
        if isinstance(parts, Exception):
            raise parts
        return checkpoint.restore(saved, parts, state, config)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The run can't be taken up, and stays as it was: {describe_error(error, config)}."
        ) from error


@contextmanager
def _debugging(config: Config, parts: Parts, directory: Path) -> Iterator[NullProfiler]:
    """The context of training for the config's `debug`; yields the profiler for the training loop."""
    if config.debug == "profile":
        with profiling(parts.model, directory) as profiler:
            yield profiler
    elif config.debug == "anomaly":
        with detect_anomalies(parts.model, gradients=config.amp != "fp16"):
            yield NullProfiler()
    else:
        yield NullProfiler()


def _first_files(config: Config, diff: Mapping[str, Any], command: list[str], device: torch.device) -> dict[str, str]:
    """The files that identify a run, as content by name."""
    details = environment(command, device=device_name(device), threads=torch.get_num_threads())
    return {
        "config.yaml": rundir.to_yaml(dataclasses.asdict(config)),
        "config_diff.yaml": rundir.to_yaml(diff),
        "environment.json": rundir.to_json(details, indent=2) + "\n",
    }


def _announce(config: Config, console: Console) -> None:
    """Print the settings of numerical precision that are not the defaults."""
    defaults = {"compile": False, "amp": None, "matmul_precision": "highest"}
    values = {key: getattr(config, key) for key in defaults}
    if changed := [f"{key}={show(value)}" for key, value in values.items() if value != defaults[key]]:
        console.print(f"computing with {', '.join(changed)}", highlight=False, soft_wrap=True)
    if config.compile and config.debug != "anomaly":
        console.print("compiling the network, which can take a minute", highlight=False)


def _log_start(parts: Parts, diff: Mapping[str, Any], step: int, notes: list[str]) -> None:
    overrides = ", ".join(f"{key}={show(value)}" for key, value in flatten(diff).items()) or "the defaults"
    parameters, threads = sum(p.numel() for p in parts.model.parameters()), torch.get_num_threads()
    logger.info("%s; %d parameters, %s, %d threads", overrides, parameters, parts.device, threads)
    if step:
        logger.info("goes on after step %d", step)
    for note in notes:
        logger.warning("%s: the results may differ in their last digits", note)


def _brief(scalars: Mapping[str, float | None]) -> str:
    tags = ("train/loss", "val/loss", "val/accuracy", "test/accuracy")
    return ", ".join(f"{tag} {scalars[tag]:.4g}" for tag in tags if scalars.get(tag) is not None)
