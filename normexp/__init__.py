"""normexp: see what a normalization layer does to a network.

The functions are imported when they are first used, torch with those that need it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normexp.api.register import register
    from normexp.api.run import Run, load
    from normexp.api.runs import Runs, load_runs
    from normexp.api.sweep import sweep
    from normexp.api.train import TrainingError, build, train
    from normexp.config import Config, ConfigError
    from normexp.watching import Watch, watch

__version__ = "0.2.0"

NUMERICS = 2
"""Version of the numbers that a config and a seed give. Raise it with every change of random streams, networks, arithmetic or
measures: runs of different versions are not averaged, resumed or reused. In version 1, all layers of the
same shape began with the same weights."""

_HOMES = {
    **dict.fromkeys(("train", "build", "TrainingError"), "normexp.api.train"),
    "sweep": "normexp.api.sweep",
    "register": "normexp.api.register",
    **dict.fromkeys(("load", "Run"), "normexp.api.run"),
    **dict.fromkeys(("load_runs", "Runs"), "normexp.api.runs"),
    **dict.fromkeys(("watch", "Watch"), "normexp.watching"),
    **dict.fromkeys(("Config", "ConfigError"), "normexp.config"),
}

__all__ = [
    "Config",
    "ConfigError",
    "Run",
    "Runs",
    "TrainingError",
    "Watch",
    "build",
    "load",
    "load_runs",
    "register",
    "sweep",
    "train",
    "watch",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        return [*__all__, "__version__", "NUMERICS"]
