"""A cache that is damaged, not trustworthy or not writable never fails a run."""

import json
import os
from pathlib import Path

import pytest

from normexp.data.cache import checksum
from tests.data.caching import Data, kept
from tests.small_disk import leave, small_disk


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


DAMAGE = {
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
    # Somebody else may have written it:
    "a link": lambda path: path.symlink_to(path.rename(path.parent / "elsewhere")),
    "open to all": lambda path: path.chmod(0o666),
    "another user's": lambda path: os.chown(path, 12345, 12345),
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
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_untrusted_file_is_replaced(data, file, damage):
    if damage == "another user's" and os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    data.load()
    DAMAGE[damage](data.folder / ".normexp" / file)
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
