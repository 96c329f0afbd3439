"""`seeds=N` on the command line, short for a sweep over N seeds."""

from collections.abc import Sequence

from normexp.compose.argv import PRINTING_FLAGS
from normexp.config import ConfigError, show

MAX_SEEDS = 1000
"""More are probably a typo for seed=N."""


def expand_seeds(words: Sequence[str]) -> list[str]:
    """The words with `seed=0,1,2` in place of `seeds=3`, and with -m. Raises ConfigError for wrong values."""
    given = [word for word in words if word.startswith("seeds=")]
    if not given:
        return list(words)
    if len(given) > 1 or any(word.startswith("seed=") for word in words):
        raise ConfigError(f"{show(given[0])} already sets seed: leave out the other seed=... or seeds=...")
    count = given[0].partition("=")[2]
    if not (count.isdecimal() and len(count) <= 4 and 1 <= int(count) <= MAX_SEEDS):
        raise ConfigError(f"{show(given[0])}: seeds must be an integer from 1 to {MAX_SEEDS}; seeds=3 is seed=0,1,2.")
    if PRINTING_FLAGS & set(words):
        raise ConfigError(f"{show(given[0])} makes a sweep, but --cfg and --info show a single run: use seed=N.")
    seeds = "seed=" + ",".join(map(str, range(int(count))))
    return ["-m"] * (not {"-m", "--multirun"} & set(words)) + [seeds if word in given else word for word in words]
