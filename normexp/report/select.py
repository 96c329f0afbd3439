"""Selection of runs by config values, for --filter."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from normexp.config import ConfigError, show, suggest
from normexp.report.groups import check_key, distinct_values, format_value, hashable
from normexp.report.read import Collection, Run
from normexp.rundir import State


def select(collection: Collection, filters: Sequence[str]) -> Collection:
    """The runs that pass all filters, of the form KEY=VALUE or KEY=VALUE,VALUE (any of them). `state` is a key, too. Raises
    ConfigError for a malformed filter, for a key or value that no run has, and if no run is left."""
    runs = collection.runs
    for text in filters:
        key, equals, values = text.partition("=")
        if not equals or not key or not values:
            raise ConfigError(f"--filter {show(text)}: expected KEY=VALUE, such as norm=bn or lr=0.1,1.")
        if key != "state":
            check_key(key, collection.runs)
        own = {run.directory: run.state if key == "state" else run.config.get(key) for run in collection.runs}
        passed: set[Path] = set()
        for value in re.split(r",(?![^\[]*\])", values):
            matching = {directory for directory in own if _matches(own[directory], value)}
            if not matching and not (key == "state" and value in get_args(State)):
                raise ConfigError(_no_such_value(key, value, collection.runs))
            passed |= matching
        runs = [run for run in runs if run.directory in passed]
    if not runs:
        raise ConfigError(f"No run matches --filter {' --filter '.join(map(show, filters))}.")
    return replace(collection, runs=runs, not_started=0 if filters else collection.not_started)


def _matches(value: Any, text: str) -> bool:
    """Whether a value equals the text: 0.1 also matches 1e-1, and a missing value null."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        try:
            return value == float(text) or format_value(value) == text
        except ValueError:
            return False
    return text in (show(value), format_value(value)) or text == str(hashable(value))


def _no_such_value(key: str, value: str, runs: Sequence[Run]) -> str:
    states = sorted({run.state for run in runs})
    known = states if key == "state" else list(map(format_value, distinct_values(key, runs)))
    some = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    values = f"{key} is one of {some}" if len(known) > 1 else f"{key} is always {some}"
    problem = values if known else f"no run has a value for {key}"
    return f"--filter {show(key)}={show(value)}: {problem}.{suggest(value, known)}"
