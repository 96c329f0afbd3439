"""Compare two run directories, ignoring times: python scripts/same_runs.py DIR DIR

Prints the differences, and exits with 1 if there are any. Weights, optimizer, generators, metrics and events must be bitwise
equal, and histograms.png byte for byte. Neither directory may have leftovers of an interrupted write.
"""

import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from normexp.rundir import read_metrics, read_status
from normexp.training import checkpoint

PARTS = ("model", "optimizer", "arithmetic", "generators", "order", "probes", "step")
"""The parts of a checkpoint that determine how training continues."""

RUN_SPECIFIC_TAGS = ("_hparams_", "config/")
"""Tags of events that contain the time and place of a run. They must exist, with any content."""


def differences(first: Path, second: Path) -> list[str]:
    """Describe each part of the two runs that differs, in a line."""
    return list(_differences(first, second))


def _differences(first: Path, second: Path) -> Iterator[str]:
    for directory in (first, second):
        for leftover in sorted(directory.glob(".*.tmp")):
            yield f"{leftover} is left over"
        if (count := len(list(directory.glob("events.out.tfevents.*")))) != 1:
            yield f"{directory} has {count} event files"
            return
    entries = [metrics_without_time(directory) for directory in (first, second)]
    if entries[0] != entries[1]:
        yield f"metrics.jsonl: {_first_difference(*entries)}"
    events = [event_summaries(directory) for directory in (first, second)]
    if events[0] != events[1]:
        yield f"events: {_first_difference(*events)}"
    states = [checkpoint.load(directory / checkpoint.NAME) for directory in (first, second)]
    yield from (f"checkpoint: {part}" for part in PARTS if not bitwise_equal(states[0][part], states[1][part]))
    if not bitwise_equal(states[0]["sinks"]["sheet"], states[1]["sinks"]["sheet"]):
        yield "checkpoint: the sheet's histograms"
    pictures = [_content(directory / "histograms.png") for directory in (first, second)]
    if pictures[0] != pictures[1]:
        yield "histograms.png" + (" is missing in one" if None in pictures else "")
    ends = [_end(directory) for directory in (first, second)]
    if ends[0] != ends[1]:
        yield f"status.json: {_first_difference(*(sorted(end.items(), key=lambda item: item[0]) for end in ends))}"


def is_clocked(tag: str) -> bool:
    """Whether the value of a tag depends on the speed of the machine."""
    return "second" in tag


def metrics_without_time(directory: Path) -> list[dict[str, Any]]:
    """The entries of metrics.jsonl without times."""
    return [{tag: v for tag, v in entry.items() if not is_clocked(tag)} for entry in read_metrics(directory)]


def event_summaries(directory: Path) -> list[tuple[int, str, bytes]]:
    """The step, tag and bytes of each event that TensorBoard reads, without times and run-specific content."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = directory.glob("events.out.tfevents.*")
    return [
        (event.step, value.tag, b"" if value.tag.startswith(RUN_SPECIFIC_TAGS) else value.SerializeToString())
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if not is_clocked(value.tag)
    ]


def bitwise_equal(a: Any, b: Any) -> bool:
    """Whether two trees of tensors and plain values are bitwise equal."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and _bits(a) == _bits(b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(bitwise_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(bitwise_equal, a, b))
    return repr(a) == repr(b)  # NaN is not equal to itself


def _bits(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.numpy().tobytes()


def _end(directory: Path) -> dict[str, Any]:
    status = read_status(directory)
    metrics = {tag: value for tag, value in status["metrics"].items() if not is_clocked(tag)}
    return {**metrics, **{key: status[key] for key in ("state", "step", "total_steps", "error")}}


def _first_difference(first: list[Any], second: list[Any]) -> str:
    at = next(i for i, (a, b) in enumerate(zip_longest(first, second, fillvalue=...)) if a != b)
    shown = [str(entries[at])[:200] if at < len(entries) else "nothing" for entries in (first, second)]
    return f"entry {at} of {len(first)} and {len(second)}: {shown[0]}, {shown[1]}"


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    lines = differences(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(lines) or "the same")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    main()
