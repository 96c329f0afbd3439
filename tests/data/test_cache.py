"""Cache of decoded data: it saves decoding and is never outdated, whatever other processes do."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from normexp.config import ConfigError
from normexp.data import cache
from tests.conftest import ROOT
from tests.data.caching import SPEC, kept


def test_the_second_load_takes_no_decoding(data, tmp_path):
    assert [data.load(), data.load(), data.load()] == [1, 0, 0]
    assert kept(data.folder / ".normexp") == ["tiny.bin", "tiny.json"]
    assert not (tmp_path / "caches").exists()


def test_changed_sources_are_decoded_and_touched_ones_are_not(data):
    data.load()
    source, content = data.sources[0], bytearray(data.sources[0].read_bytes())
    before = source.stat()
    content[5000] ^= 1
    source.write_bytes(content)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))  # ctime tells
    assert [data.load(), data.load()] == [1, 0]
    os.utime(source, ns=(0, 0))
    record = data.folder / ".normexp" / "tiny.json"
    assert json.loads(record.read_text())["stats"][0][1] == before.st_mtime_ns
    assert data.load() == 0
    assert json.loads(record.read_text())["stats"][0][1] == 0  # so that the sources are not read the next time
    source.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="reshape"):
        data.load()


def test_a_source_that_has_just_been_written_is_not_trusted_for_its_times(data, monkeypatch):
    stats = [[1, 2, 3], [1, 2, 3]]  # as on a file system that rounds to seconds
    monkeypatch.setattr(cache, "_stat", lambda sources: {"stats": stats, "settled": False})
    assert [data.load(), data.load()] == [1, 0]
    data.sources[1].write_bytes(bytes([3]) * 80)
    assert data.load() == 1


def test_an_unverified_cache_is_not_used_where_verification_is_asked_for(data):
    assert [data.load(verified=False), data.load(verified=False)] == [1, 0]
    assert [data.load(), data.load(), data.load(verified=False)] == [1, 0, 0]


def test_refused_data_is_not_cached(data, tmp_path):
    data.sources[0].write_bytes(b"\xff" * 80 * 784)
    for _ in range(2):
        with pytest.raises(ConfigError, match="damaged"):
            data.load()
    assert kept(tmp_path) == ["images", "labels"]
    assert not (data.folder / ".normexp").exists()


def test_arrays_of_a_replaced_cache_stay_valid(data):
    data.load()
    arrays = cache.cached(SPEC, data.folder, data.sources, data._decode)
    before = arrays.train_images.copy()
    data.sources[0].write_bytes(bytes(80 * 784))
    assert data.load() == 1
    assert np.array_equal(arrays.train_images, before)


def test_without_the_lock_loading_works(data, monkeypatch):
    monkeypatch.setattr(cache, "LOCK_TIMEOUT", 0.05)
    descriptor = os.open(data.folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert [data.load(), data.load()] == [1, 0]
    os.close(descriptor)

    def refuse(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (data.folder / ".normexp" / "tiny.bin").unlink()
    assert [data.load(), data.load()] == [1, 0]


PROCESS = """
import os, signal, sys, time
from pathlib import Path
from normexp.data import cache
from tests.data import caching

folder, replacements = Path(sys.argv[1]), int(sys.argv[2])
cache.SETTLED, replace = 0.0, Path.replace

def decode(read):
    Path(f"decoded.{os.getpid()}").touch()
    time.sleep(0.3)
    return caching.decode(read, folder)

def last(self, target):
    global replacements
    replacements -= 1
    if replacements == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = last
Path(f"ready.{os.getpid()}").touch()
while not Path("go").exists():
    time.sleep(0.005)
arrays = cache.cached(caching.SPEC, folder, [folder / "images", folder / "labels"], decode)
print(cache.checksum(arrays.train_images), arrays.test_labels.sum())
"""


def start(data, *, replacements=0):
    words = [sys.executable, "-c", PROCESS, str(data.folder), str(replacements)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_of_several_processes_one_decodes_for_all(data):
    processes = [start(data) for _ in range(3)]
    while len(list(Path().glob("ready.*"))) < 3:
        time.sleep(0.01)
        assert all(process.poll() is None for process in processes)
    Path("go").touch()
    said = {process.communicate(timeout=30)[0] for process in processes}
    assert len(said) == 1 and said != {b""}
    assert len(list(Path().glob("decoded.*"))) == 1
    assert data.load() == 0


@pytest.mark.parametrize("replacements", [1, 2])
def test_what_a_kill_leaves_is_not_used(data, replacements):
    """Before the arrays have their name, and between them and their record."""
    Path("go").touch()
    process = start(data, replacements=replacements)
    assert process.wait(timeout=30) == -signal.SIGKILL
    process.stdout.close()
    assert any(name.endswith(".tmp") for name in kept(data.folder))
    assert [data.load(), data.load()] == [1, 0]
    assert kept(data.folder / ".normexp") == ["tiny.bin", "tiny.json"]
