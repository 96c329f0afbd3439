"""Display names of config values, keys and metrics, for tables and figures in papers: BN instead of norm=bn."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from normexp.config import ConfigError, printable, show, suggest
from normexp.data import DATA
from normexp.metrics import is_fraction, metric_title
from normexp.norms import NORMS
from normexp.report.groups import check_key, distinct_values, format_value
from normexp.report.read import Run
from normexp.rundir import reader

HINT = "Write norm: {bn: BN, none: no norm} in a yaml file, or --names 'norm=bn:BN,norm=none:no norm'."

Entry = tuple[str, str | None, str]
"""A key, one of its values as `format_value` writes it, or None for the key itself, and the name."""

ABBREVIATIONS = {"none": "none", "evonorm": "EvoNorm-S0", "dyt": "DyT", "derf": "Derf", "iternorm": "IterNorm"}
"""Of norms that papers don't write in capitals."""

BUILTIN: dict[tuple[str, str | None], str] = {
    **{("norm", name): ABBREVIATIONS.get(name, name.upper()) for name in NORMS},
    **{("weight", name): title for name, title in (("ws", "WS"), ("sws", "SWS"), ("weight_norm", "WN"))},
    ("weight", "spectral"): "spectral norm",
    **{("data", name): entry.title for name, entry in DATA.loaded.items() if name not in ("digits", "npz", "folder")},
}


@dataclass(frozen=True)
class Names:
    """names: by config key or metric and formatted value; by None for the key or metric itself."""

    names: Mapping[tuple[str, str | None], str] = field(default_factory=dict)

    def key(self, key: str, default: str | None = None) -> str:
        """'learning rate' for lr; without a name the default, or the key itself."""
        return self.names.get((key, None), default or key)

    def value(self, key: str, value: Any) -> str:
        """'BN' for norm, bn."""
        text = format_value(value)
        return self.names.get((key, text), text)

    def pair(self, key: str, value: Any) -> str:
        """'lr=0.1'; a value with a name stands alone: 'BN'."""
        text = format_value(value)
        return self.names.get((key, text), f"{self.key(key)}={text}")

    def label(self, values: Mapping[str, Any]) -> str:
        """'BN lr=0.1', without missing values; 'all runs' if there are no keys."""
        return " ".join(self.pair(key, value) for key, value in values.items() if value is not None) or "all runs"

    def axis(self, metric: str) -> str:
        """'test accuracy (%)' for test/accuracy."""
        return self.key(metric, metric_title(metric)) + (" (%)" if is_fraction(metric) else "")


PLAIN = Names()
"""No names: keys and values as they are in the config."""


def read_names(text: str | None, runs: Sequence[Run]) -> Names:
    """Names from the value of --names: 'norm=bn:BN,lr:learning rate', or the path of a yaml file. They add to BUILTIN. None: no
    names at all. Raises ConfigError if the text or file is malformed, and for keys and values in the text that no run has; a
    file may be shared by reports on different runs."""
    if text is None:
        return PLAIN
    own = _inline(text, runs) if ":" in text else _from_file(Path(text)) if text else ()
    return Names(BUILTIN | {(key, value): name for key, value, name in own})


def _inline(text: str, runs: Sequence[Run]) -> Iterator[Entry]:
    for part in re.split(r",(?=[\w./]+(?:=[^:]*)?:)", text):
        left, _, name = part.partition(":")
        key, equals, value = (word.strip() for word in left.partition("="))
        if not (key and name.strip()) or bool(equals) != bool(value):
            raise ConfigError(f"--names {show(part)}: write KEY=VALUE:NAME or KEY:NAME, such as norm=bn:BN.")
        canonical = _canonical(value) if equals else None
        _check(key, canonical, runs)
        yield key, canonical, name.strip()


def _from_file(path: Path) -> Iterator[Entry]:
    try:
        tree = reader.read_yaml(path)
    except OSError as error:
        raise ConfigError(f"--names {show(path)}: {error.strerror or error}. {HINT}") from error
    except ValueError as error:
        raise ConfigError(f"--names {show(path)}: not a yaml file with names. {HINT}") from error
    for key, names in tree.items():
        for value, name in names.items() if isinstance(names, dict) else [(None, names)]:
            if not isinstance(name, str | int | float):
                raise ConfigError(f"--names {show(path)}: the name of {show(key)} must be a string. {HINT}")
            yield str(key), None if value is None else format_value(value), printable(name)


def _canonical(text: str) -> str:
    """0.1 for 1e-1, as `format_value` writes it."""
    for number in (int, float):
        with suppress(ValueError):
            return format_value(number(text))
    return text


def _check(key: str, value: str | None, runs: Sequence[Run]) -> None:
    if value is not None or not any(key in run.metrics for run in runs):
        check_key(key, runs)
    known = [format_value(own) for own in distinct_values(key, runs)]
    if value not in (None, *known) and (key, value) not in BUILTIN:
        there = f"{show(key)} is one of {', '.join(known[:12])} here"
        raise ConfigError(f"--names {show(key)}={show(value)}: {there}.{suggest(str(value), known)}")
