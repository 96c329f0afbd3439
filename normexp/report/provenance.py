"""Provenance of runs: commands, commits, package versions, machines and settings, read from their directories."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normexp.config import show
from normexp.report.groups import distinct_values, format_value, hashable
from normexp.report.read import Run
from normexp.rundir.reader import displayable_json

MAX_SHOWN = 8
"""Commands, commits or machines that are listed; the rest is counted."""


@dataclass(frozen=True)
class Provenance:
    """How runs came about. environment, differing, shared: lines of text by term or config key."""

    commands: list[str]
    environment: dict[str, list[str]]
    differing: dict[str, list[str]]
    shared: dict[str, list[str]]

    @property
    def shown_commands(self) -> list[str]:
        more = len(self.commands) - MAX_SHOWN
        return self.commands[:MAX_SHOWN] + ([f"... and {more} more"] if more > 0 else [])


def provenance(runs: Sequence[Run], keys: Sequence[str]) -> tuple[Provenance, list[str]]:
    """Collect the provenance of runs, and notes on what is unknown. keys: the config keys in which the runs differ."""
    environments = [displayable_json(run.directory / "environment.json") for run in runs if run.state != "skipped"]
    known = [environment for environment in environments if environment]
    sweeps = [displayable_json(folder / "sweep.json") for folder in dict.fromkeys(run.directory.parent for run in runs)]
    commands = list(filter(None, map(_command, sweeps))) or list(filter(None, map(_command, known)))
    environment = {
        "git commit": _count(map(_commit, known)),
        "python": _count(_text(environment.get("python")) for environment in known),
        "packages": _packages(known),
        "machine": _count(map(_machine, known)),
    }
    notes = []
    if missing := len(environments) - len(known):
        notes.append(f"{missing} {'run has' if missing == 1 else 'runs have'} no environment.json that can be read.")
    environment = {term: lines for term, lines in environment.items() if lines}
    return Provenance(list(dict.fromkeys(commands)), environment, *_settings(runs, keys)), notes


def _settings(runs: Sequence[Run], keys: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Settings in which runs differ, with their values, and settings that all runs share."""
    runs = [run for run in runs if run.config]
    if not runs:
        return {}, {}
    differing = {key: [", ".join(map(format_value, distinct_values(key, runs)))] for key in [*keys, "seed"]}
    shared = {
        key: [show(value)]
        for key, value in runs[0].config.items()
        if key not in differing
        and all(key in run.config and hashable(run.config[key]) == hashable(value) for run in runs)
    }
    return differing, shared


def _command(file: Mapping[str, Any]) -> str:
    words = file.get("command")
    return shlex.join(map(str, words)) if isinstance(words, list) else _text(words)


def _commit(environment: Mapping[str, Any]) -> str:
    git = environment.get("git")
    if not isinstance(git, dict) or not git.get("commit"):
        return "none: from an installed package"
    return f"{git['commit']}{' with uncommitted changes' if git.get('dirty') else ''}"


def _machine(environment: Mapping[str, Any]) -> str:
    parts = [_text(environment.get(key)) for key in ("device", "host", "platform")]
    cpus, threads = environment.get("cpus"), environment.get("threads")
    parts += [
        f"{cpus} cores" if cpus else "",
        f"{threads} {'thread' if threads == 1 else 'threads'} a run" if threads else "",
    ]
    return ", ".join(filter(None, parts))


def _packages(environments: Iterable[Mapping[str, Any]]) -> list[str]:
    versions: dict[str, dict[str, None]] = {}
    for environment in environments:
        packages = environment.get("packages")
        for name, version in packages.items() if isinstance(packages, dict) else ():
            versions.setdefault(str(name), {})[str(version)] = None
    return [", ".join(f"{name} {' and '.join(own)}" for name, own in versions.items())] if versions else []


def _count(values: Iterable[str]) -> list[str]:
    """Distinct values, most frequent first; with the number of runs if there are several values."""
    counts = Counter(filter(None, values))
    lines = [
        value + (f" ({n} {'run' if n == 1 else 'runs'})" if len(counts) > 1 else "")
        for value, n in counts.most_common(MAX_SHOWN)
    ]
    return lines + ([f"and {len(counts) - MAX_SHOWN} more"] if len(counts) > MAX_SHOWN else [])


def _text(value: Any) -> str:
    return "" if value is None else str(value)
