"""checkpoint.pt: all that going on with a run needs, so that it ends bit for bit as if it had never been stopped.

It loads with weights_only=True. The one before it is kept as checkpoint.prev.pt, for when the newest is damaged.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import pickle
import platform
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from normexp import NUMERICS, __version__
from normexp.config import NOT_OF_THE_RESULT, Config, ConfigError, show
from normexp.records import Sink
from normexp.rundir import atomic
from normexp.sinks.jsonl import JsonLines
from normexp.training.build import Parts, device_name
from normexp.training.state import TrainState

FORMAT = 2
NAME, PREVIOUS = "checkpoint.pt", "checkpoint.prev.pt"

EXTENDS = ("epochs", "steps")
"""Keys of which a run may have more than it was started with."""


KEYS = {
    *("format", "step", "seconds", "started", "config", "config_hash", "versions", "threads", "device", "data"),
    *("model", "optimizer", "generators", "order", "probes", "course", "sinks"),
}


class CheckpointError(Exception):
    """A checkpoint that can't be gone on from, and why."""


def save(
    directory: Path,
    parts: Parts,
    course: TrainState,
    config: Config,
    sinks: Mapping[str, Sink],
    *,
    seconds: float,
    started: str,
) -> None:
    """Write the state of everything that a run consists of. The file takes its name when all of it is on the disk.

    seconds, started: how long the run has taken so far, and since when, as its status tells. Raises WriteError.
    """
    state: dict[str, Any] = {
        "format": FORMAT,
        "numerics": NUMERICS,
        "step": course.step,
        "seconds": seconds,
        "started": started,
        "config": _plain(config),
        "config_hash": config_hash(config),
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "device": parts.device.type,
        "device_name": device_name(parts.device),
        "data": parts.data.fingerprint,
        "model": parts.model.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "arithmetic": parts.arithmetic.state_dict(),
        "generators": _generators(parts),
        "order": parts.order.state_dict(),
        "probes": parts.probes.state_dict(),
        "course": course.state_dict(),
        "sinks": {name: sink.state_dict() for name, sink in sinks.items()},
    }
    content = io.BytesIO()  # torch's own writer aborts the process where a disk is full
    torch.save(state, content)
    path = directory / NAME
    with atomic.replacing(path) as temporary:
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(directory / PREVIOUS)
    atomic.to_disk(directory)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote. Raises CheckpointError for a file that is torn, damaged, or something else; OSError and MemoryError
    where it could not be read, which says nothing of it; and ConfigError where another version of normexp wrote it."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums that it writes
            if damaged := archive.testzip():
                raise CheckpointError(f"{show(damaged)} in it does not have its checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (CheckpointError, MemoryError):
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # that of a place before a file's beginning, to which damage can lead
            raise
        raise CheckpointError(_first_line(error)) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError("it holds more than tensors and plain values") from error
    except Exception as error:  # whatever else a damaged file raises: it is at fault
        raise CheckpointError(_first_line(error)) from error
    if not isinstance(state, dict):
        raise CheckpointError("it is not what a run writes")
    version = state.get("format"), state.get("numerics", 1)
    if isinstance(version[0], int) and version != (FORMAT, NUMERICS):
        raise ConfigError(f"{path} was written by an incompatible version of normexp; resume with that version.")
    if not state.keys() >= KEYS:
        raise CheckpointError("it is not what a run writes")
    return state


def newest(directory: Path, config: Config) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest state to go on from, or None, and a line for each file that can't be used.

    Raises ConfigError where it belongs to a run with another config.
    """
    lines, gap = [], False
    for name in (NAME, PREVIOUS):
        try:
            if not (directory / name).is_file():
                continue
            state = {**load(directory / name), "file": name}
            if gap := _has_gap(directory, state):
                raise CheckpointError("metrics.jsonl is gone, shorter than it was then, or reformatted")
            differing = differing_keys(state, config)
        except CheckpointError as reason:
            lines.append(f"{directory / name} can't be used: {reason}.")
            continue
        except (KeyError, TypeError, AttributeError):  # of a file that somebody else made
            lines.append(f"{directory / name} can't be used: it is not what a run writes.")
            continue
        if differing:
            raise ConfigError(
                f"{show(directory)} was trained with other values of {', '.join(differing)} than its config.yaml has now. "
                "Put them back, or train another run."
            )
        return state, lines
    if gap:  # not a reason to give up what was trained
        raise ConfigError(
            f"{directory / 'metrics.jsonl'} is gone, shorter than it was at the checkpoint, or reformatted: there would be a "
            "gap. Put it back as it was, or take the checkpoints away to have the run trained from its beginning."
        )
    return None, lines


def set_aside(directory: Path, state: Mapping[str, Any] | None) -> None:
    """Before a run goes on from a state that `newest` found: give the files that it could not use another name. What is written
    from now on makes them wrong, or would push a good one out."""
    unusable = (NAME, PREVIOUS) if state is None else (NAME,) if state["file"] == PREVIOUS else ()
    for name in unusable:
        path = directory / name
        if path.exists():
            with atomic.writing(path):
                path.replace(directory / f"{name}.damaged")


def _has_gap(directory: Path, state: Mapping[str, Any]) -> bool:
    """Whether the record lacks something that had been written before the checkpoint, or was reformatted since."""
    return not JsonLines.extends(directory / "metrics.jsonl", state["sinks"]["metrics"])


def differing_keys(state: Mapping[str, Any], config: Config) -> list[str]:
    """Keys in which the config differs from the state's, but for how long to train, where, and how to show it."""
    if state["config_hash"] == config_hash(config):
        return []
    then, now = _of_the_result(state["config"]), _of_the_result(_plain(config))
    return [key for key in now if key in then and then[key] != now[key]]


def restore(state: Mapping[str, Any], parts: Parts, course: TrainState, config: Config) -> list[str]:
    """Put parts and course into the state of a checkpoint; returns what may keep the results from being the same to the bit.

    Raises ConfigError where the data is not what the run was trained on, or the state not that of such a network.
    """
    if state["data"] != parts.data.fingerprint:
        raise ConfigError(
            f"data={config.data.name}: the data in {show(config.data_dir)} is not what this run was trained on so far. "
            "Put that back, or name its folder with data_dir=..."
        )
    try:
        parts.model.load_state_dict(state["model"])
        parts.optimizer.load_state_dict(state["optimizer"])
        parts.arithmetic.load_state_dict(state.get("arithmetic", {}))
        parts.order.load_state_dict(state["order"])
        parts.probes.load_state_dict(state["probes"])
        course.load_state_dict(state["course"])
        if config.threads is None:
            torch.set_num_threads(state["threads"])
        _set_generators(state["generators"], parts, state["device"])
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of a file that somebody else made
        raise ConfigError(f"The checkpoint does not fit the config of its run: {_first_line(error)}.") from error
    named = "device_name" in state  # else written before there were names
    device = device_name(parts.device) if named else parts.device.type
    found = {**versions(), "device": device, "threads": torch.get_num_threads()}
    before = {
        **state["versions"],
        "device": state["device_name" if named else "device"],
        "threads": state["threads"],
    }
    return [f"{name} was {before[name]} and is {found[name]}" for name in before if before[name] != found[name]]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return show(lines[0].rstrip(" .:")) if lines else type(error).__name__


def versions() -> dict[str, str]:
    """What the bits of a result depend on."""
    return {
        "normexp": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def config_hash(config: Config) -> str:
    """The same for configs that make the same run, but for its length."""
    return hashlib.sha256(json.dumps(_of_the_result(_plain(config)), sort_keys=True).encode()).hexdigest()


def _plain(config: Config) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def _of_the_result(tree: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        elif key not in (*NOT_OF_THE_RESULT, *EXTENDS):
            flat[key] = value
    return flat


def _generators(parts: Parts) -> dict[str, Any]:
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    words = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": words}},
        "torch": torch.get_rng_state(),
        **({"augment": parts.augment.generator.get_state()} if parts.augment else {}),
        **({"cuda": torch.cuda.get_rng_state(parts.device)} if parts.device.type == "cuda" else {}),
    }


def _set_generators(states: Mapping[str, Any], parts: Parts, device: str) -> None:
    random.setstate(states["python"])
    numpy = states["numpy"]
    words = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": words}})
    torch.set_rng_state(states["torch"])
    if parts.device.type != device:  # theirs can't be translated
        return
    if parts.augment:
        parts.augment.generator.set_state(states["augment"])
    if device == "cuda":
        torch.cuda.set_rng_state(states["cuda"], parts.device)
