"""The state of a part of the GPU check: how it runs and where its results go."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Device = Literal["cpu", "cuda"]

SMALL_NETS = {
    "mlp": ["model.depth=2", "model.width=32"],
    "cnn": ["model.channels=[8,16]"],
    "resnet": ["model.depth=8", "model.width=4"],
}
"""Overrides for a small network. Other models have their default size."""


@dataclass
class Part:
    """quick: do as little as shows that the part works. deadline: in the time of time.monotonic()."""

    device: Device
    quick: bool
    deadline: float
    results: Path
    longest: float = 0.0
    """Seconds that the longest attempt took so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def record(self, what: str, state: str, detail: str = "", *, value: float | None = None, unit: str = "") -> None:
        """Append a result to the file. state: ok, failed, measured or left out."""
        row = {"what": what, "state": state, "value": value, "unit": unit, "detail": detail}
        self.rows.append(row)
        with self.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if state == "failed":
            print(f"{what}: {detail}", file=sys.stderr, flush=True)

    def attempt(self, what: str, work: Callable[..., object], *arguments: Any) -> None:
        """Call work(*arguments), which records its results. An error is recorded as a failure and does not end the part.

        Nothing is started that would end after the deadline if it took as long as the longest attempt before it.
        """
        start = time.monotonic()
        if start + self.longest > self.deadline:
            self.record(what, "left out", "the part's time was over")
            return
        try:
            work(*arguments)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            self.record(what, "failed", f"{type(error).__name__}: {lines[0][:200]}")
        self.longest = max(self.longest, time.monotonic() - start)
