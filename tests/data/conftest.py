"""Shared fixtures of the data tests."""

import pytest

from normexp.data import cache
from tests.data.caching import Data


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return Data(tmp_path / "data")
