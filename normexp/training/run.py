"""One run, from a valid config to a finished run directory."""

from __future__ import annotations

import atexit
import dataclasses
import gc
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from normexp import rundir
from normexp.compose.choices import hyperparameters
from normexp.config import Config, ConfigError, show
from normexp.data.sizes import sizes
from normexp.records import About, Chart, Record, Sink
from normexp.rundir import atomic
from normexp.rundir.environment import environment
from normexp.sinks.histogram_sheet import Sheet
from normexp.sinks.jsonl import JsonLines
from normexp.sinks.progress_bar import Terminal
from normexp.sinks.tensorboard import TensorBoard
from normexp.training import checkpoint
from normexp.training.anomaly import watching
from normexp.training.build import Parts, build, device_name
from normexp.training.log import logging_to
from normexp.training.profile import Unprofiled, profiling
from normexp.training.signals import Interrupt
from normexp.training.state import Stopwatch, TrainState
from normexp.training.status import Cause, Status, cause_of, sentence
from normexp.training.trainer import fit

logger = logging.getLogger("normexp")

# Else Python, when it ends, looks for garbage once more in all that torch has made: Ctrl-C would take almost a second more.
atexit.register(gc.freeze)


@dataclass(frozen=True)
class Result:
    """What became of a run. signal: the one that interrupted it. debug: the config's. cause: of a failure, where it is known."""

    directory: Path
    state: rundir.State
    error: str | None
    metrics: Mapping[str, float | None]
    signal: int | None = None
    debug: str | None = None
    cause: Cause | None = None


def run(  # noqa: PLR0915 - from beginning to end, whatever happens
    config: Config,
    *,
    make_directory: Callable[[Mapping[str, str]], Path],
    diff: Mapping[str, Any],
    command: list[str],
    console: Console,
    texts: Mapping[str, str] | None = None,
    saved: Mapping[str, Any] | None = None,
) -> Result:
    """Train the config's network in the directory that `make_directory` makes, once its parts are there, of the first files
    that it is given: their texts by their names.

    diff: what of the config differs from the defaults. texts: more to read beside the config, in Markdown by title. saved: the
    checkpoint to go on from, with its files in the directory.

    Raises ConfigError, with nothing written, where the data or the directory can't be had, and WriteError where the directory
    can't be written to. Whatever else goes wrong ends as a result with the state `failed`; its traceback is in train.log.
    """
    _say_how(config, console)
    parts = _build(config)
    device = torch.device("cpu") if isinstance(parts, Exception) else parts.device
    course = TrainState(sizes(config).total_steps, Stopwatch(device))
    notes = [] if saved is None else _restore(saved, parts, course, config)
    status = Status(course, seconds=saved["seconds"], started=saved["started"]) if saved else Status(course)
    files = _first_files(config, diff, command, device)
    directory = make_directory({**files, "status.json": status.text("running")})
    place = atomic.Place(directory)
    state: rundir.State = "failed"
    error: str | None = None
    cause: Cause | None = None
    stop = Interrupt()
    with stop.handling(), ExitStack() as log_file:
        sinks: dict[str, Sink] = {}
        try:
            log_file.enter_context(logging_to(directory / "train.log"))
            if isinstance(parts, Exception):
                raise parts
            atomic.remove_temporaries(directory)
            _log_beginning(parts, diff, course.step, notes)
            told = about(parts, config, diff, texts or {})
            sinks = open_sinks(directory, told, console, course.total_steps, saved["sinks"] if saved else {})

            def log(record: Record) -> None:
                if "val/accuracy" in record.scalars:
                    place.check()
                for sink in sinks.values():
                    sink.log(record)
                if "val/accuracy" in record.scalars:
                    logger.info("step %d: %s", record.step, _brief(record.scalars))
                    status.write(directory, "running")

            def save() -> None:
                place.check()
                checkpoint.save(directory, parts, course, config, sinks, seconds=status.seconds, started=status.started)

            with _debugging(config, parts, directory) as profile:
                interrupted = lambda: stop.signal is not None  # noqa: E731
                outcome = fit(parts, config, course, log=log, interrupted=interrupted, save=save, profile=profile)
            save()
            state, error = outcome.state, outcome.error
        except KeyboardInterrupt:
            state = "interrupted"
        except BaseException as exception:
            error, cause = sentence(exception, config), cause_of(exception)
            logger.error("failed\n%s", traceback.format_exc())
            if not isinstance(exception, Exception):
                raise
        finally:
            stop.over = True
            try:
                _close(sinks, place, success=state == "completed")
            finally:  # behind them: a run that says how it ended has nothing left to write
                try:
                    place.check()
                    status.write(directory, state, error)
                    with suppress(atomic.WriteError):  # against power cuts alone
                        atomic.to_disk(directory / "status.json")
                except atomic.WriteError as failure:  # now it says `running`, and will be that of a killed run
                    state = "failed"
                    if error is None:
                        error, cause = str(failure), cause_of(failure)
            reason = f": {error}" if error else ""
            logger.info("%s after %d of %d steps%s", state, course.step, course.total_steps, reason)
    signal = stop.signal if state == "interrupted" else None
    return Result(directory, state, error, dict(course.scalars), signal, config.debug, cause)


def open_sinks(
    directory: Path, about: About, console: Console, total_steps: int, saved: Mapping[str, Any] | None = None
) -> dict[str, Sink]:
    """All that a run writes to and shows, in the order in which they are to be closed. saved: their states in a checkpoint."""
    saved = saved or {}
    tensorboard = TensorBoard(directory, about, saved.get("tensorboard"))
    try:
        metrics = JsonLines(directory / "metrics.jsonl", saved.get("metrics"))
    except atomic.WriteError:
        with suppress(atomic.WriteError):
            tensorboard.close(success=False)
        raise
    return {
        "metrics": metrics,
        "sheet": Sheet(directory / "histograms.png", partial(tensorboard.picture, "histograms"), saved.get("sheet")),
        "tensorboard": tensorboard,
        "terminal": Terminal(console, total_steps, saved.get("terminal")),
    }


def _close(sinks: Mapping[str, Sink], place: atomic.Place, *, success: bool) -> None:
    there = place.there()
    for name, sink in sinks.items():
        with suppress(OSError):
            if there or name != "sheet":  # which would be drawn into the folder of another
                sink.close(success=success)


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


def _restore(saved: Mapping[str, Any], parts: Parts | Exception, course: TrainState, config: Config) -> list[str]:
    """As `checkpoint.restore`. A run that can't be taken up stays what it is, perhaps completed: that is no failure of it."""
    try:
        if isinstance(parts, Exception):
            raise parts
        return checkpoint.restore(saved, parts, course, config)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"The run can't be taken up, and stays as it was: {sentence(error, config)}.") from error


def _build(config: Config) -> Parts | Exception:
    """The parts, or why they can't be had (no memory, say): that is a failed run like others, and no reason to stop a sweep."""
    try:
        return build(config)
    except ConfigError:
        raise
    except Exception as exception:
        return exception


@contextmanager
def _debugging(config: Config, parts: Parts, directory: Path) -> Iterator[Unprofiled]:
    """What `debug` adds to training; yields what the loop is to tell of itself."""
    if config.debug == "profile":
        with profiling(parts.model, directory) as profile:
            yield profile
    elif config.debug == "anomaly":
        with watching(parts.model, gradients=config.amp != "fp16"):
            yield Unprofiled()
    else:
        yield Unprofiled()


HPARAM_METRICS = [
    "test/accuracy",
    "test/loss",
    "convergence/best_accuracy",
    "convergence/area_under_curve",
    "train/loss",
]


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


def _first_files(config: Config, diff: Mapping[str, Any], command: list[str], device: torch.device) -> dict[str, str]:
    """The files that say what the run is."""
    made_with = environment(command, device=device_name(device), threads=torch.get_num_threads())
    return {
        "config.yaml": rundir.to_yaml(dataclasses.asdict(config)),
        "config_diff.yaml": rundir.to_yaml(diff),
        "environment.json": rundir.to_json(made_with, indent=2) + "\n",
    }


def how(config: Config) -> list[str]:
    """What of the arithmetic is not as in any other run, as overrides."""
    keys = {"compile": False, "amp": None, "matmul_precision": "highest"}
    return [f"{key}={show(getattr(config, key))}" for key, usual in keys.items() if getattr(config, key) != usual]


def _say_how(config: Config, console: Console) -> None:
    if found := how(config):
        console.print(f"computing with {', '.join(found)}", highlight=False, soft_wrap=True)
    if config.compile and config.debug != "anomaly":
        console.print("compiling the network, which can take a minute", highlight=False)


def _log_beginning(parts: Parts, diff: Mapping[str, Any], step: int, notes: list[str]) -> None:
    what = ", ".join(f"{key}={show(value)}" for key, value in flatten(diff).items()) or "the defaults"
    parameters, threads = sum(p.numel() for p in parts.model.parameters()), torch.get_num_threads()
    logger.info("%s; %d parameters, %s, %d threads", what, parameters, parts.device, threads)
    if step:
        logger.info("goes on after step %d", step)
    for note in notes:
        logger.warning("%s: the results may differ in their last digits", note)


def _brief(scalars: Mapping[str, float | None]) -> str:
    tags = ("train/loss", "val/loss", "val/accuracy", "test/accuracy")
    return ", ".join(f"{tag} {scalars[tag]:.4g}" for tag in tags if scalars.get(tag) is not None)
