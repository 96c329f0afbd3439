"""Provenance of runs: commands, commits, package versions, machines and settings, read from their directories."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normexp.config import show
from normexp.report.groups import distinct_values, format_value, hashable
from normexp.report.read import Run
from normexp.rundir.reader import displayable_json

MAX_SHOWN = 8
"""Commands, commits or machines to list; the rest is counted."""


def provenance(runs: Sequence[Run], keys: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Collect the provenance of runs, and notes on missing files. keys: the config keys in which the runs differ. Returns the
    commands, and the environment, differing and shared settings: lines of text by term or config key."""
    environments = [displayable_json(run.directory / "environment.json") for run in runs if run.state != "skipped"]
    known = [environment for environment in environments if environment]
    sweeps = [displayable_json(folder / "sweep.json") for folder in dict.fromkeys(run.directory.parent for run in runs)]
    commands = list(dict.fromkeys(filter(None, map(_command, sweeps))))
    commands = commands or list(dict.fromkeys(filter(None, map(_command, known))))
    if (more := len(commands) - MAX_SHOWN) > 0:
        commands[MAX_SHOWN:] = [f"... and {more} more"]
    environment = {
        "git commit": _count(map(_commit, known)),
        "python": _count(str(file.get("python") or "") for file in known),
        "packages": _packages(known),
        "machine": _count(map(_machine, known)),
    }
    missing = len(environments) - len(known)
    note = f"{missing} {'run has' if missing == 1 else 'runs have'} no readable environment.json."
    differing: dict[str, list[str]] = {}
    shared: dict[str, list[str]] = {}
    if configs := [run.config for run in runs if run.config]:
        seed = ["seed"] * (len(distinct_values("seed", runs)) > 1)
        differing = {key: [", ".join(map(format_value, distinct_values(key, runs)))] for key in [*keys, *seed]}
        for key, value in configs[0].items():
            same = all(key in config and hashable(config[key]) == hashable(value) for config in configs)
            if key not in differing and same:
                shared[key] = [show(value)]
    environment = {term: lines for term, lines in environment.items() if lines}
    origin = {"commands": commands, "environment": environment, "differing": differing, "shared": shared}
    return origin, [note] if missing else []


def _command(file: Mapping[str, Any]) -> str:
    words = file.get("command") or ""
    return shlex.join(map(str, words)) if isinstance(words, list) else str(words)


def _commit(environment: Mapping[str, Any]) -> str:
    git = environment.get("git")
    if not isinstance(git, dict) or not git.get("commit"):
        return "none (installed package)"
    return f"{git['commit']}{' with uncommitted changes' if git.get('dirty') else ''}"


def _machine(environment: Mapping[str, Any]) -> str:
    parts = [str(environment.get(key) or "") for key in ("device", "host", "platform")]
    if cpus := environment.get("cpus"):
        parts.append(f"{cpus} cores")
    if threads := environment.get("threads"):
        parts.append(f"{threads} {'thread' if threads == 1 else 'threads'} per run")
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
    if len(counts) < 2:
        return list(counts)
    lines = [f"{value} ({n} {'run' if n == 1 else 'runs'})" for value, n in counts.most_common(MAX_SHOWN)]
    return lines + ([f"and {len(counts) - MAX_SHOWN} more"] if len(counts) > MAX_SHOWN else [])
