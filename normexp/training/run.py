"""One run, from a valid config to a finished run directory."""

import atexit
import gc
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from normexp import rundir
from normexp.compose.choices import hyperparameters
from normexp.config import Config, ConfigError, as_tree, flatten, installed, name_own_choices, show
from normexp.data import class_names, sizes
from normexp.models.describe import describe, markdown
from normexp.records import GRAD_NORM, Chart, Record, RunInfo
from normexp.rundir import atomic
from normexp.rundir.environment import environment
from normexp.rundir.status import replace_status, status_text
from normexp.sinks.progress_bar import STATUS_REFRESH_RATE
from normexp.sinks.run_sinks import RunSinks
from normexp.training import checkpoint
from normexp.training.build import Parts, build, device_name
from normexp.training.debug import debugging
from normexp.training.errors import cause_of, describe_error
from normexp.training.process import Interrupt, logging_to
from normexp.training.state import TrainState
from normexp.training.trainer import Outcome, Trainer

logger = logging.getLogger("normexp")

HPARAMS_TAGS = ("test/accuracy", "test/loss", "convergence/best_accuracy", "convergence/area_under_curve", "train/loss")
"""Columns of TensorBoard's HPARAMS page."""

# Skip the garbage collection at interpreter exit: with all of torch's objects it delays Ctrl-C by almost a second.
atexit.register(gc.freeze)


@dataclass(frozen=True, kw_only=True)
class Result(Outcome):
    """The end of a run.

    evaluated: step of the last evaluation. eval_samples: validation samples of all evaluations but the last step's; None for the
    whole split. signal: the one that interrupted the run. debug: from the config.
    """

    directory: Path
    metrics: Mapping[str, float | None]
    evaluated: int
    eval_samples: int | None
    signal: int | None
    debug: str | None


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

    make_directory: called with the first files (content by name) when model and data are ready; creates the run directory with
    them. diff: the keys in which the config differs from the defaults.

    Raises ConfigError, with nothing written, if the data or the directory is not available, and WriteError if the directory
    is not writable. Any other failure gives a result with the state `failed` and a traceback in train.log.
    """
    _announce(config, console)
    with console.status(f"loading {config.data.name}", refresh_per_second=STATUS_REFRESH_RATE):
        parts, state, notes = _prepare(config, saved)
    device, components = device_name(state.device), installed.used_in(config)
    details = environment(command, device=device, threads=torch.get_num_threads(), components=components)
    files = {
        "config.yaml": rundir.to_yaml(as_tree(config)),
        "config_diff.yaml": rundir.to_yaml(diff),
        "environment.json": rundir.to_json(details, indent=2) + "\n",
    }
    session = _Session(config, state, lambda status: make_directory({**files, "status.json": status}), saved or {})
    directory = session.directory
    with session.interrupt.handling(), ExitStack() as log_file:
        try:
            log_file.enter_context(logging_to(directory / "train.log"))
            if isinstance(parts, Exception):
                raise parts
            atomic.remove_temporaries(directory)
            _log_start(parts, config, diff, state.step, notes)
            info, saved_sinks = run_info(parts, config, diff), saved and saved["sinks"]
            options: dict[str, Any] = {"tracker": config.tracker, "stopping": session.interrupt.requested}
            session.train(parts, RunSinks(directory, info, console, state.total_steps, saved_sinks, **options))
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
    """A run whose directory exists, so that its outcome is recorded there, whatever happens."""

    def __init__(
        self, config: Config, train_state: TrainState, make_directory: Callable[[str], Path], saved: Mapping[str, Any]
    ) -> None:
        """make_directory: called with the first status. saved: the checkpoint of a resumed run, with its duration and start."""
        self.config, self.train_state = config, train_state
        self.start, self.started = time.monotonic() - saved.get("seconds", 0.0), saved.get("started") or rundir.now()
        self.directory = make_directory(self.status("running"))
        self.guard = atomic.DirectoryGuard(self.directory)
        self.interrupt = Interrupt()
        self.sinks: RunSinks | None = None
        self.outcome = Outcome("failed")

    def train(self, parts: Parts, sinks: RunSinks) -> None:
        self.sinks = sinks
        log, save, stop = partial(self.log, sinks), partial(self.save, parts, sinks), self.interrupt.requested
        with debugging(self.config, parts.model, self.directory) as profiler:
            trainer = Trainer(
                parts,
                self.config,
                state=self.train_state,
                log=log,
                interrupted=stop,
                save=save,
                profiler=profiler,
                show_evaluating=sinks.progress.evaluating,
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
            tags = ("train/loss", "val/loss", "val/accuracy", "test/accuracy")
            shown = ", ".join(f"{tag} {value:.4g}" for tag in tags if (value := record.scalars.get(tag)) is not None)
            logger.info("step %d: %s", record.step, shown)
            replace_status(self.directory, self.status("running"))

    def save(self, parts: Parts, sinks: RunSinks) -> None:
        self.guard.check()
        times: dict[str, Any] = {"seconds": time.monotonic() - self.start, "started": self.started}
        checkpoint.save(self.directory, parts, self.train_state, self.config, sinks, **times)

    def status(self, state: rundir.State, error: str | None = None) -> str:
        """Content of status.json."""
        train_state, seconds = self.train_state, time.monotonic() - self.start
        progress = {"step": train_state.step, "total_steps": train_state.total_steps, "seconds": seconds}
        return status_text(state, error, **progress, metrics=train_state.scalars, started=self.started)

    def fail(self, error: BaseException) -> None:
        self.outcome = Outcome("failed", describe_error(error, self.config), cause_of(error))

    def finish(self) -> None:
        """Close the sinks, then write the final status, which marks everything as written."""
        self.interrupt.finishing = True
        outcome = self.outcome
        try:
            if self.sinks is not None:
                # If another run has replaced the directory, its sheet must not be overwritten.
                self.sinks.close(success=outcome.state == "completed", draw=self.guard.exists())
        finally:
            try:
                self.guard.check()
                replace_status(self.directory, self.status(outcome.state, outcome.error))
                with suppress(atomic.WriteError):  # only matters in a power cut
                    atomic.fsync(self.directory / "status.json")
            except atomic.WriteError as failure:  # status.json still says `running`, which is read as killed
                if outcome.error is None:
                    self.fail(failure)
                else:
                    self.outcome = replace(outcome, state="failed")
            reason = f": {self.outcome.error}" if self.outcome.error else ""
            step, total = self.train_state.step, self.train_state.total_steps
            logger.info("%s after %d of %d steps%s", self.outcome.state, step, total, reason)
            if self.sinks is not None and self.sinks.tracker is not None:
                with suppress(OSError):
                    self.sinks.tracker.close(success=self.outcome.state == "completed")

    def result(self) -> Result:
        state, config = self.train_state, self.config
        sampled = config.eval_samples is not None and config.eval_samples < sizes(config).val
        return Result(
            **vars(self.outcome),
            directory=self.directory,
            metrics=dict(state.scalars),
            evaluated=state.points[-1].step if state.points else 0,
            eval_samples=config.eval_samples if sampled else None,
            signal=self.interrupt.signal if self.outcome.state == "interrupted" else None,
            debug=config.debug,
        )


def _prepare(config: Config, saved: Mapping[str, Any] | None) -> tuple[Parts | Exception, TrainState, list[str]]:
    """Build the parts and restore `saved`; also returns a message for each change that may alter results.

    If building fails, returns the exception instead of the parts: running out of memory, for example, is a failed run and must
    not stop a sweep. On resume, any error becomes a ConfigError instead, because the run keeps its status.
    """
    total_steps = sizes(config).total_steps
    try:
        parts = build(config)
        state = TrainState(total_steps, parts.device)
        return parts, state, [] if saved is None else checkpoint.restore(saved, parts, state, config)
    except ConfigError:
        raise
    except Exception as error:
        if saved is None:
            return error, TrainState(total_steps, torch.device("cpu")), []
        reason = describe_error(error, config)
        raise ConfigError(f"Could not resume; the run is unchanged: {reason}.") from error


def run_info(parts: Parts, config: Config, diff: Mapping[str, Any] | None = None) -> RunInfo:
    """The description of a run that TensorBoard shows next to its measurements."""
    texts = {  # TensorBoard sorts them by title
        "changed from the defaults": f"```yaml\n{rundir.to_yaml(diff)}```" if diff else "nothing",
        "config": f"```yaml\n{rundir.to_yaml(as_tree(config))}```",
        "layers": markdown(describe(config)),
    }
    charts = [
        Chart("Whole network", "loss", lines=["train/loss", "val/loss$"]),
        Chart("Whole network", "accuracy", lines=["train/accuracy", "val/accuracy$", "val/accuracy_batch_statistics"]),
        Chart("Whole network", "gradient norm of each layer's parameters", lines=[f"{GRAD_NORM}/.*"]),
        *parts.probes.charts(),
    ]
    return RunInfo(hyperparameters(config), HPARAMS_TAGS, texts, charts)


def _announce(config: Config, console: Console) -> None:
    """Print non-default settings of numerical precision, and that compiling takes a while."""
    defaults = {"compile": False, "amp": None, "matmul_precision": "highest"}
    values = {key: getattr(config, key) for key in defaults}
    if changed := [f"{key}={show(value)}" for key, value in values.items() if value != defaults[key]]:
        console.print(f"precision: {', '.join(changed)}", highlight=False, soft_wrap=True)
    if config.compile and config.debug != "anomaly":
        console.print("compiling the network; this can take a minute", highlight=False)


def _log_start(parts: Parts, config: Config, diff: Mapping[str, Any], step: int, notes: list[str]) -> None:
    overrides = [f"{key}={show(value)}" for key, value in name_own_choices(flatten(diff)).items()]
    parameters, threads = sum(p.numel() for p in parts.model.parameters()), torch.get_num_threads()
    shown = ", ".join(overrides) or "default config"
    logger.info("%s; %s parameters, device=%s, threads=%d", shown, f"{parameters:,}", parts.device, threads)
    if names := class_names(config):
        logger.info(names)
    if step:
        logger.info("resuming after step %d", step)
    for note in notes:
        logger.warning("%s: results may differ in the last digits", note)
