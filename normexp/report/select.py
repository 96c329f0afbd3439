"""--filter: the runs with some values of some keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from normexp.config import ConfigError, nearest, show
from normexp.report.groups import check_key, comparable, values_of, word
from normexp.report.read import Collection, Run


def select(collection: Collection, filters: Sequence[str]) -> Collection:
    """The runs that pass each of the filters, written KEY=VALUE or KEY=VALUE,VALUE (one of them); `state` is a key, too.

    Raises ConfigError for a filter that is not written so, a key or a value that no run has, and where nothing is left.
    """
    runs = collection.runs
    for text in filters:
        key, equals, values = text.partition("=")
        if not equals or not key or not values:
            raise ConfigError(f"--filter {show(text)}: a filter is written KEY=VALUE, such as norm=bn or lr=0.1,1.")
        if key != "state":
            check_key(key, collection.runs)
        passed: list[Run] = []
        for value in re.split(r",(?![^\[]*\])", values):
            matching = [run for run in collection.runs if _matches(_value(run, key), value)]
            if not matching:
                raise ConfigError(_no_such_value(key, value, collection.runs))
            passed += matching
        chosen = {id(run) for run in passed}
        runs = [run for run in runs if id(run) in chosen]
    if not runs:
        raise ConfigError(f"No run passes all of --filter {' --filter '.join(show(text) for text in filters)}.")
    return replace(collection, runs=runs)


def _value(run: Run, key: str) -> Any:
    return run.state if key == "state" else run.config.get(key)


def _matches(value: Any, text: str) -> bool:
    """Whether a value is what the text says: 0.1 is also 1e-1, null is what is missing."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        try:
            return value == float(text) or word(value) == text
        except ValueError:
            return False
    return text in (show(value), word(value)) or text == str(comparable(value))


def _no_such_value(key: str, value: str, runs: Sequence[Run]) -> str:
    known = sorted({run.state for run in runs}) if key == "state" else [word(each) for each in values_of(key, runs)]
    some = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    there = f"{key} is one of {some} here" if len(known) > 1 else f"{key} is {some} in all runs here"
    return (
        f"--filter {show(key)}={show(value)}: {there if known else 'no run has a value of it'}.{nearest(value, known)}"
    )
