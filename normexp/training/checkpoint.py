"""Checkpoints: checkpoint.pt holds everything needed to resume a run with bit-identical results.

It loads with weights_only=True. The previous checkpoint is kept as checkpoint.prev.pt, in case the newest is damaged.
"""

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
from normexp.compose.choices import with_later_keys
from normexp.config import LENGTH_KEYS, RESULT_INDEPENDENT_KEYS, Config, ConfigError, flatten, installed, show
from normexp.rundir import atomic
from normexp.sinks.jsonl import JsonLines
from normexp.sinks.run_sinks import RunSinks
from normexp.training.build import Parts, device_name
from normexp.training.state import TrainState

FORMAT = 2
NAME, PREVIOUS = "checkpoint.pt", "checkpoint.prev.pt"

KEYS = {
    *("format", "step", "seconds", "started", "config", "config_hash", "versions", "threads", "device", "data"),
    *("model", "optimizer", "generators", "order", "probes", "course", "sinks"),
}


class CheckpointError(Exception):
    """The checkpoint cannot be resumed."""


def save(
    directory: Path, parts: Parts, state: TrainState, config: Config, sinks: RunSinks, *, seconds: float, started: str
) -> None:
    """Write checkpoint.pt atomically, with fsync, and keep the previous one as checkpoint.prev.pt.

    seconds, started: duration and start of the run, as in its status. Raises WriteError.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "numerics": NUMERICS,
        "step": state.step,
        "seconds": seconds,
        "started": started,
        "config": _plain(config),
        "config_hash": config_hash(config),
        "versions": versions(config),
        "threads": torch.get_num_threads(),
        "device": parts.device.type,
        "device_name": device_name(parts.device),
        "data": parts.data.fingerprint,
        "model": parts.model.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "arithmetic": parts.precision.scaler.state_dict(),
        "generators": _generators(parts),
        "order": parts.order.state_dict(),
        "probes": parts.probes.state_dict(),
        "course": state.state_dict(),
        "sinks": sinks.state_dict(),
    }
    buffer = io.BytesIO()  # torch's own file writer aborts the process on a full disk
    torch.save(content, buffer)
    path = directory / NAME
    with atomic.replacing(path) as temporary:
        with temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(directory / PREVIOUS)
    atomic.fsync(directory)


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint. Raises CheckpointError if the file is damaged or not a checkpoint, OSError or MemoryError if reading
    failed for another reason, and ConfigError if an incompatible version of normexp wrote it."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes checksums, but does not verify them
            if damaged := archive.testzip():
                raise CheckpointError(f"the checksum of {show(damaged)} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (CheckpointError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError("it contains more than tensors and plain values") from error
    except Exception as error:  # a damaged file can raise anything, including EINVAL from a seek to a negative offset
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise CheckpointError(_first_line(error)) from error
    if not isinstance(state, dict):
        raise CheckpointError("it is not a checkpoint of normexp")
    version = state.get("format"), state.get("numerics", 1)
    if isinstance(version[0], int) and version != (FORMAT, NUMERICS):
        raise ConfigError(f"{path} was written by an incompatible version of normexp; resume with that version.")
    if not state.keys() >= KEYS:
        raise CheckpointError("it is not a checkpoint of normexp")
    return state


def newest(directory: Path, config: Config) -> tuple[dict[str, Any] | None, list[str]]:
    """Load the newest usable checkpoint; returns its state, or None, and a message for each unusable file. The key `file` of the
    state is the name of the file. Raises ConfigError if the checkpoint was trained with another config."""
    lines, gap = [], False
    for name in (NAME, PREVIOUS):
        try:
            if not (directory / name).is_file():
                continue
            state = {**load(directory / name), "file": name}
            gap = not JsonLines.is_continuation(directory / "metrics.jsonl", state["sinks"]["metrics"])
            if gap:
                raise CheckpointError("metrics.jsonl is missing, truncated or reformatted")
            differing = differing_keys(state, config)
        except (CheckpointError, KeyError, TypeError, AttributeError) as error:
            reason = error if isinstance(error, CheckpointError) else "it is not a checkpoint of normexp"
            lines.append(f"Cannot use {directory / name}: {reason}.")
            continue
        if differing:
            raise ConfigError(
                f"{show(directory)}: its config.yaml and its checkpoint differ in {', '.join(differing)}. Restore config.yaml, "
                "or start a new run."
            )
        return state, lines
    if gap:  # an error rather than training from scratch, since the checkpoint itself is good
        raise ConfigError(
            f"{directory / 'metrics.jsonl'} is missing, truncated or reformatted, so the resumed run would have a gap. Restore "
            "it, or delete the checkpoints to train from scratch."
        )
    return None, lines


def set_aside(directory: Path, state: Mapping[str, Any] | None) -> None:
    """Rename the checkpoints that `newest` could not use to *.damaged, before the run resumes from `state`. Otherwise the next
    `save` would keep a damaged file as the previous checkpoint and delete the good one."""
    unusable = (NAME, PREVIOUS) if state is None else (NAME,) if state["file"] == PREVIOUS else ()
    for name in unusable:
        path = directory / name
        if path.exists():
            with atomic.writing(path):
                path.replace(directory / f"{name}.damaged")


def differing_keys(state: Mapping[str, Any], config: Config) -> list[str]:
    """Keys in which the config differs from the checkpoint's, apart from those that don't change the result. Keys that did not
    exist when it was written had their default."""
    before, now = with_later_keys(_result_keys(state["config"])), _result_keys(_plain(config))
    # Data that was moved stays the same: `restore` compares its content.
    return [key for key in now if key in before and before[key] != now[key] and key != "data.path"]


def restore(state: Mapping[str, Any], parts: Parts, train_state: TrainState, config: Config) -> list[str]:
    """Load a checkpoint into `parts` and `train_state`.

    Returns a message for each change of version, device or threads, after which results may differ in the last bits.
    Raises ConfigError if the data has changed, or the checkpoint does not fit the network.
    """
    check_data(state, parts.data.fingerprint, config)
    try:
        parts.model.load_state_dict(state["model"])
        parts.optimizer.load_state_dict(state["optimizer"])
        if arithmetic := state.get("arithmetic"):  # empty without fp16
            parts.precision.scaler.load_state_dict(arithmetic)
        parts.order.load_state_dict(state["order"])
        parts.probes.load_state_dict(state["probes"])
        train_state.load_state_dict(state["course"])
        if config.threads is None:
            torch.set_num_threads(state["threads"])
        _set_generators(state["generators"], parts, state["device"])
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # tampered with
        raise ConfigError(f"The checkpoint does not match the run's config: {_first_line(error)}.") from error
    before = {**state["versions"], "device": state.get("device_name", state["device"]), "threads": state["threads"]}
    device = device_name(parts.device) if "device_name" in state else parts.device.type  # old checkpoints have the type
    now = {**versions(config), "device": device, "threads": torch.get_num_threads()}
    return [f"{name} was {before[name]}, now {now.get(name)}" for name in before if before[name] != now.get(name)]


def check_data(state: Mapping[str, Any], fingerprint: str, config: Config) -> None:
    """Raise ConfigError unless the data is what the checkpoint's run was trained on."""
    if state["data"] != fingerprint:
        key, place = ("data.path", config.data.path) if hasattr(config.data, "path") else ("data_dir", config.data_dir)
        raise ConfigError(
            f"data={config.data.name}: the data in {show(place)} is not the data that this run was trained on. Restore it, or "
            f"set {key} to its {'folder' if key == 'data_dir' else 'place'}."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return show(lines[0].rstrip(" .:")) if lines else type(error).__name__


def versions(config: Config) -> dict[str, str]:
    """Versions of the software that results depend on, to the last bit, with packages that the config's components come from."""
    versions = {"normexp": __version__, "torch": str(torch.__version__), "numpy": np.__version__}
    others = {each.package: each.version for each in installed.used_in(config) if each.group != "probe"}
    return {**versions, "python": platform.python_version(), **others}


def config_hash(config: Config) -> str:
    """Hash the keys that determine the result, without the length of the run."""
    return hashlib.sha256(json.dumps(_result_keys(_plain(config)), sort_keys=True).encode()).hexdigest()


def _plain(config: Config) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def _result_keys(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in flatten(tree).items() if k not in (*RESULT_INDEPENDENT_KEYS, *LENGTH_KEYS)}


def _generators(parts: Parts) -> dict[str, Any]:
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    key = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": key}},
        "torch": torch.get_rng_state(),
        **({"augment": parts.augment.generator.get_state()} if parts.augment else {}),
        **({"cuda": torch.cuda.get_rng_state(parts.device)} if parts.device.type == "cuda" else {}),
    }


def _set_generators(states: Mapping[str, Any], parts: Parts, device: str) -> None:
    random.setstate(states["python"])
    numpy = states["numpy"]
    key = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    torch.set_rng_state(states["torch"])
    if parts.device.type != device:  # CPU and CUDA generators have incompatible states
        return
    if parts.augment:
        parts.augment.generator.set_state(states["augment"])
    if device == "cuda":
        torch.cuda.set_rng_state(states["cuda"], parts.device)
