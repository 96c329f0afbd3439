"""How runs were made: commands, commits, versions, machines and configs, from the files in their directories."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normexp.config import show
from normexp.plotting.svg import esc
from normexp.report.files import read_json
from normexp.report.groups import comparable, values_of, word
from normexp.report.page_html import pairs
from normexp.report.read import Run

MOST = 8
"""Commands, commits or machines that are shown, before the rest is only counted."""


def made(runs: Sequence[Run], keys: Sequence[str]) -> tuple[str, list[str]]:
    """The part of the page, and sentences on what could not be told. keys: those that differ."""
    environments = [read_json(run.directory / "environment.json") for run in runs if run.state != "skipped"]
    known = [environment for environment in environments if environment]
    sweeps = [read_json(folder / "sweep.json") for folder in dict.fromkeys(run.directory.parent for run in runs)]
    commands = [_command(each) for each in sweeps] if any(map(_command, sweeps)) else [_command(each) for each in known]
    found = {
        "git commit": _counted(map(_commit, known)),
        "python": _counted(_text(each.get("python")) for each in known),
        "packages": _packages(known),
        "machine": _counted(map(_machine, known)),
    }
    notes = []
    if missing := len(environments) - len(known):
        notes.append(f"{missing} {'run has' if missing == 1 else 'runs have'} no environment.json that can be read.")
    lines = list(dict.fromkeys(filter(None, commands)))
    shown = "\n".join(lines[:MOST]) + (f"\n... and {len(lines) - MOST} more" if len(lines) > MOST else "")
    parts = [f"<h3>{'Command' if len(lines) == 1 else 'Commands'}</h3><pre>{esc(shown)}</pre>" if lines else ""]
    parts.append("<h3>Made with</h3>" + pairs({key: value for key, value in found.items() if value}))
    parts.append(_configs([run for run in runs if run.config], keys))
    return "".join(parts), notes


def _configs(runs: Sequence[Run], keys: Sequence[str]) -> str:
    """What differed with its values, and what all runs share."""
    if not runs:
        return ""
    differing = {key: ", ".join(map(word, values_of(key, runs))) for key in [*keys, "seed"]}
    common = {
        key: show(value)
        for key, value in runs[0].config.items()
        if all(key in run.config and comparable(run.config[key]) == comparable(value) for run in runs)
    }
    return (
        "<h3>What differed</h3>"
        + pairs({key: f"<code>{esc(values)}</code>" for key, values in differing.items()})
        + f'<details class="printed"><summary>The {len(common)} settings that all runs share</summary>'
        + pairs({key: f"<code>{esc(value)}</code>" for key, value in common.items() if key not in differing})
        + "</details>"
    )


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


def _packages(environments: Iterable[Mapping[str, Any]]) -> str:
    versions: dict[str, dict[str, None]] = {}
    for environment in environments:
        packages = environment.get("packages")
        for name, version in packages.items() if isinstance(packages, dict) else ():
            versions.setdefault(str(name), {})[str(version)] = None
    return esc(", ".join(f"{name} {' and '.join(each)}" for name, each in versions.items()))


def _counted(values: Iterable[str]) -> str:
    """Each value once, with how many runs have it where there are several."""
    counts = Counter(filter(None, values))
    lines = [
        esc(value) + (f" ({n} {'run' if n == 1 else 'runs'})" if len(counts) > 1 else "")
        for value, n in counts.most_common(MOST)
    ]
    lines += [f"and {len(counts) - MOST} more"] if len(counts) > MOST else []
    return "<br>".join(lines)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
