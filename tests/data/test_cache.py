"""Cache of decoded data: it saves decoding, it is never wrong, and no damage to it fails a run."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from normexp.config import ConfigError
from normexp.data import cache
from normexp.data.base import Arrays, value_counts
from normexp.data.cache import checksum
from tests.conftest import ROOT
from tests.small_disk import leave, small_disk

SPEC = cache.CacheSpec(name="tiny", train=(60, 1, 28, 28), test=(20, 1, 28, 28), classes=10, verified=True)


def decode(read, folder):
    """Decode 80 images of 28x28 pixels and their labels from two files."""
    images = np.frombuffer(read(folder / "images", max_bytes=10**6), np.uint8).reshape(80, 1, 28, 28)
    labels = np.frombuffer(read(folder / "labels", max_bytes=10**6), np.uint8).astype(np.int64)
    if images[0, 0, 0, 0] == 255:
        raise ConfigError("It is damaged.")
    return Arrays(images[:60], labels[:60], images[60:], labels[60:], scale=255)


@dataclass
class Data:
    """A data set in a folder, which counts how often it is decoded."""

    folder: Path
    spec: cache.CacheSpec = SPEC
    decoded: int = 0
    sources: list[Path] = field(default_factory=list)

    def __post_init__(self):
        self.folder.mkdir(exist_ok=True)
        self.sources = [self.folder / "images", self.folder / "labels"]
        self.sources[0].write_bytes(np.random.default_rng(0).integers(0, 250, 80 * 784, dtype=np.uint8).tobytes())
        self.sources[1].write_bytes(bytes(range(10)) * 8)

    def _decode(self, read):
        self.decoded += 1
        return decode(read, self.folder)

    def load(self, **changes):
        """How often this load decoded. Checks that the result is always the content of the sources."""
        self.decoded = 0
        arrays = cache.cached(replace(self.spec, **changes), self.folder, self.sources, self._decode)
        images, labels = (np.frombuffer(source.read_bytes(), np.uint8) for source in self.sources)
        found = np.concatenate([arrays.train_images, arrays.test_images]).reshape(-1)
        assert found.dtype == np.uint8 and np.array_equal(found, images)
        found = np.concatenate([arrays.train_labels, arrays.test_labels])
        assert found.dtype == np.int64 and np.array_equal(found, labels)
        if arrays.counts is not None:
            assert np.array_equal(arrays.counts, value_counts(arrays.train_images, 255))
        return self.decoded


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return Data(tmp_path / "data")


def kept(folder):
    """The names of all files in a folder and below."""
    return sorted(path.name for path in folder.rglob("*") if not path.is_dir())


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


def test_every_byte_of_a_cache_may_be_flipped(data):
    data.load()
    for path, places in (
        ("tiny.json", slice(None)),
        ("tiny.bin", slice(None, None, 2999)),
        ("tiny.bin", slice(-3, None)),
    ):
        file = data.folder / ".normexp" / path
        sound = file.read_bytes()
        for i in range(len(sound))[places]:
            file.write_bytes(sound[:i] + bytes([sound[i] ^ (1 << i % 8)]) + sound[i + 1 :])
            decoded = data.load()
            assert decoded == 1 or path == "tiny.json"  # where a flip may have no meaning
            assert data.load() == 0


def write(path, content):
    path.unlink()
    path.write_bytes(content)


def other(path, make):
    path.unlink()
    make(path)


def label_11(path):
    """A cache that is as it should be, but for a label."""
    content = path.read_bytes()[:-1] + bytes([11])
    path.write_bytes(content)
    record = path.with_suffix(".json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "crc32c": checksum(bytearray(content))}))


FILE_DAMAGE = {
    "gone": Path.unlink,
    "empty": lambda path: write(path, b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "longer": lambda path: write(path, path.read_bytes() + b" x"),
    "gigantic": lambda path: os.truncate(path, 10**13),
    "a folder": lambda path: other(path, Path.mkdir),
    "a full folder": lambda path: other(path, lambda path: (path / "x").mkdir(parents=True)),
    "a pipe": lambda path: other(path, os.mkfifo),
    "a device": lambda path: other(path, lambda path: path.symlink_to("/dev/zero")),
    "a loop": lambda path: other(path, lambda path: path.symlink_to(path)),
}

RECORD_DAMAGE = {
    "garbage": b"\xff\x00garbage",
    "null": b"null",
    "a list": b"[]",
    "an object": b"{}",
    "deep": b"[" * 90_000,
    "deep and closed": b'{"format":' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    "a long number": b'{"format":' + b"9" * 90_000 + b"}",
    "constants": b'{"format":NaN}',
}


@pytest.mark.parametrize("file", ["tiny.bin", "tiny.json"])
@pytest.mark.parametrize("damage", FILE_DAMAGE)
def test_a_damaged_file_is_replaced(data, file, damage):
    data.load()
    FILE_DAMAGE[damage](data.folder / ".normexp" / file)
    assert [data.load(), data.load()] == [1, 0]


@pytest.mark.parametrize("content", RECORD_DAMAGE.values(), ids=RECORD_DAMAGE)
def test_an_invalid_record_is_replaced(data, content):
    data.load()
    write(data.folder / ".normexp" / "tiny.json", content)
    assert [data.load(), data.load()] == [1, 0]


@pytest.mark.parametrize("value", [None, -1, 1e999, "x", [], [[[]]], {"a": 1}])
def test_a_record_may_have_any_values(data, value):
    data.load()
    record = data.folder / ".normexp" / "tiny.json"
    sound = json.loads(record.read_text())
    for key in sound:
        record.write_text(json.dumps({**sound, key: value}))
        assert data.load() <= 1
        assert data.load() == 0


def test_an_invalid_label_is_noticed(data):
    data.load()
    label_11(data.folder / ".normexp" / "tiny.bin")
    assert [data.load(), data.load()] == [1, 0]


PLACES = {
    "a file": Path.touch,
    "a loop": lambda path: path.symlink_to(path),
    "a link to another place": lambda path: path.symlink_to(path.parent.parent),
    "open to all": lambda path: (path.mkdir(), path.chmod(0o777)),
    "read-only": lambda path: path.parent.chmod(0o555),
    "itself read-only": lambda path: path.mkdir(0o555),
}


@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES)
def test_if_the_data_folder_is_not_writable_the_users_cache_is_used(data, tmp_path, make):
    make(data.folder / ".normexp")
    assert [data.load(), data.load()] == [1, 0]
    assert kept(tmp_path / "caches") == ["tiny.bin", "tiny.json"]
    assert "tiny.bin" not in kept(data.folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_another_users_cache_is_not_used(data, tmp_path):
    data.load()
    beside = data.folder / ".normexp"
    os.chown(beside, 12345, 12345)
    before = kept(beside), [path.stat() for path in beside.iterdir()]
    assert [data.load(), data.load()] == [1, 0]
    assert before == (kept(beside), [path.stat() for path in beside.iterdir()])
    assert kept(tmp_path / "caches") == ["tiny.bin", "tiny.json"]
    for path in (tmp_path / "caches").rglob("tiny.*"):
        path.unlink()
    os.chown(data.sources[0], 12345, 12345)  # who may write the sources may write their cache
    assert [data.load(), data.load()] == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda path: os.chown(path, 12345, 12345),
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="gives files away"),
        ),
        lambda path: path.chmod(0o666),
        lambda path: path.symlink_to(path.rename(path.parent / "elsewhere")),
    ],
    ids=["owner", "open to all", "link"],
)
@pytest.mark.parametrize("name", ["tiny.json", "tiny.bin"])
def test_a_file_that_others_may_have_written_is_not_trusted(data, name, change):
    data.load()
    change(data.folder / ".normexp" / name)
    assert [data.load(), data.load()] == [1, 0]


def test_a_cache_written_with_a_umask_of_zero_is_trusted(data):
    before = os.umask(0)
    try:
        assert [data.load(), data.load()] == [1, 0]
    finally:
        os.umask(before)


def test_without_a_writable_folder_loading_works(data, tmp_path, monkeypatch):
    data.folder.chmod(0o555)
    (tmp_path / "caches").mkdir(0o555)
    before = kept(tmp_path)
    assert [data.load(), data.load()] == [1, 1]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "caches"))
    assert data.load() == 1
    assert kept(tmp_path) == before


@pytest.mark.parametrize("pages", [0, 1, 5, 16])
def test_a_full_disk_leaves_no_files(data, tmp_path, monkeypatch, pages):
    with small_disk(tmp_path / "small") as disk:
        data = Data(disk / "data")
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        leave(disk, pages)
        assert [data.load(), data.load()] == [1, 1]
        assert not [name for name in kept(disk) if "tiny" in name]
        (disk / "filler").unlink()
        assert [data.load(), data.load()] == [1, 0]


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
from tests.data import test_cache as tests

folder, replacements = Path(sys.argv[1]), int(sys.argv[2])
cache.SETTLED, replace = 0.0, Path.replace

def decode(read):
    Path(f"decoded.{os.getpid()}").touch()
    time.sleep(0.3)
    return tests.decode(read, folder)

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
arrays = cache.cached(tests.SPEC, folder, [folder / "images", folder / "labels"], decode)
print(tests.checksum(arrays.train_images), arrays.test_labels.sum())
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
