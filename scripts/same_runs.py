"""Whether two run directories can be told apart by anything but the clock: python scripts/same_runs.py DIR DIR

Prints what differs, and exits with 1 if anything does. Weights, optimizer, generators, metrics and events are compared to the
last bit, histograms.png to the last byte. Neither may have leftovers of a write that was cut short.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from normexp.rundir import read_metrics, read_status
from normexp.training import checkpoint

PARTS = ("model", "optimizer", "arithmetic", "generators", "order", "probes", "step")
"""Of a checkpoint, what decides how training would go on."""

OF_THE_SESSION = ("_hparams_", "config/")
"""Tags of events that say when the run was at work, and where it is: they must be there, whatever they say."""


def differences(one: Path, two: Path) -> list[str]:
    """A line for each part of the two runs that is not the same."""
    return list(_differences(one, two))


def _differences(one: Path, two: Path) -> Iterator[str]:
    for directory in (one, two):
        for leftover in sorted(directory.glob(".*.tmp")):
            yield f"{leftover} is left over"
        if (count := len(list(directory.glob("events.out.tfevents.*")))) != 1:
            yield f"{directory} has {count} event files"
            return
    entries = [numbers(directory) for directory in (one, two)]
    if entries[0] != entries[1]:
        yield f"metrics.jsonl: {_first_difference(*entries)}"
    events = [summaries(directory) for directory in (one, two)]
    if events[0] != events[1]:
        yield f"events: {_first_difference(*([event[:2] for event in each] for each in events))}"
    states = [checkpoint.load(directory / checkpoint.NAME) for directory in (one, two)]
    yield from (f"checkpoint: {part}" for part in PARTS if not same(states[0][part], states[1][part]))
    if not same(states[0]["sinks"]["sheet"], states[1]["sinks"]["sheet"]):
        yield "checkpoint: the sheet's histograms"
    pictures = [_content(directory / "histograms.png") for directory in (one, two)]
    if pictures[0] != pictures[1]:
        yield "histograms.png" + (" is missing in one" if None in pictures else "")
    ends = [_end(directory) for directory in (one, two)]
    if ends[0] != ends[1]:
        yield f"status.json: {_first_difference(*(sorted(end.items(), key=lambda item: item[0]) for end in ends))}"


def clocked(tag: str) -> bool:
    """Whether a value depends on how fast the machine was."""
    return "second" in tag


def numbers(directory: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what depends on the clock."""
    return [{tag: v for tag, v in entry.items() if not clocked(tag)} for entry in read_metrics(directory)]


def summaries(directory: Path) -> list[tuple[int, str, bytes]]:
    """What TensorBoard reads, as steps, tags and bytes, without what depends on the clock, or on when and where the run was."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = directory.glob("events.out.tfevents.*")
    return [
        (event.step, value.tag, b"" if value.tag.startswith(OF_THE_SESSION) else value.SerializeToString())
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if not clocked(value.tag)
    ]


def same(one: Any, two: Any) -> bool:
    """Whether two trees of tensors and plain values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and _bits(one) == _bits(two)
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return repr(one) == repr(two)  # NaN is not equal to itself


def _bits(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.numpy().tobytes()


def _end(directory: Path) -> dict[str, Any]:
    status = read_status(directory)
    metrics = {tag: value for tag, value in status["metrics"].items() if not clocked(tag)}
    return {**metrics, **{key: status[key] for key in ("state", "step", "total_steps", "error")}}


def _first_difference(one: list[Any], two: list[Any]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    shown = [f"{str(each[at])[:200]}" if at < len(each) else "nothing" for each in (one, two)]
    return f"entry {at} of {len(one)} and {len(two)}: {shown[0]}, {shown[1]}"


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    found = differences(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(found) or "the same")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
