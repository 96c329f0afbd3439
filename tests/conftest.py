"""What many tests share."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from normexp.compose.compose import Composer, compose_sweep
from normexp.config import Config, ConfigError

# A background job (`make test &`, nohup, some CI) ignores Ctrl-C, and all that it starts inherits that: the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Before torch is imported: with several tests at once, threads of one wait for those of another, which can take a hundred
# times as long. The processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# On a busy machine an example may take any time, and a checkout may be read-only.
settings.register_profile("normexp", deadline=None, database=None)
settings.load_profile("normexp")

ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("NORMEXP_DATA_DIR", ROOT.parent / "shared" / "data"))

needs_data = pytest.mark.skipif(
    not (SHARED_DATA / "MNIST").is_dir(),
    reason="needs MNIST and CIFAR-10: set NORMEXP_DATA_DIR to a folder that has them",
)

MAPS_ONLY = ("in", "sn")  # norms that are refused after a linear layer

_composed: dict[tuple[str, ...], Config] = {}


@cache
def _composer() -> Composer:
    """Composes as Hydra does, ten times as fast: tests/compose/test_compose.py compares the two."""
    cfg, loader = compose_sweep([], None)
    return Composer(cfg, loader)


def compose(*overrides: str) -> Config:
    """The config of `normexp train OVERRIDES`."""
    for override in overrides:
        if re.fullmatch(r"seed=\d+", override):
            return replace(compose(*(each for each in overrides if each != override)), seed=int(override[5:]))
    key = (os.environ.get("NORMEXP_DATA_DIR", ""), *overrides)  # which is in the config, until a fixture removes it
    if key not in _composed:
        combination = _composer().compose("", overrides)
        if combination.config is None:
            raise ConfigError(combination.problem)
        _composed[key] = combination.config
    return _composed[key]


@pytest.fixture(autouse=True, scope="session")
def _no_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Before any fixture composes a config, which `compose` keeps.

    Decoded data is kept in a folder of this session, which its workers share; matplotlib keeps its list of fonts, which
    takes seconds to make, where it is.
    """
    base = tmp_path_factory.getbasetemp()
    caches = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    caches.mkdir(exist_ok=True)
    fonts = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "matplotlib")
    if fonts.is_dir():
        with suppress(FileExistsError):
            (caches / "matplotlib").symlink_to(fonts)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NORMEXP_DATA_DIR", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(caches))
        yield


@pytest.fixture(autouse=True)
def _no_global_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, away from the developer's data and runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")  # whatever the width of the developer's terminal
