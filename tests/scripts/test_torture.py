"""scripts/torture.py: a short run, and the defects that it must detect."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def torture(*words, **environment):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "torture.py", *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
def test_ten_kills_leave_no_trace(tmp_path):
    done = torture("3", "--kills", "10", "--seed", "0", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    match = re.fullmatch(
        r"10 kills \((\d+) of them while a checkpoint was written, \d+ before the first one\), 0 lost, 0 differing",
        last,
    )
    assert match, last
    assert int(match[1]) >= 1
    assert not list(tmp_path.glob("torture-*"))


DEFECTS = {
    "differing": "checkpoint._set_generators = lambda *arguments: None",
    "lost": "checkpoint.KEYS = {'odd'}",  # no checkpoint is usable
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DEFECTS)
def test_defects_are_detected(tmp_path, what):
    (tmp_path / "sitecustomize.py").write_text(f"from normexp.training import checkpoint\n{DEFECTS[what]}\n")
    done = torture("1", "--kills", "5", PYTHONPATH=str(tmp_path), TMPDIR=str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert f" 1 {what}" in done.stdout.splitlines()[-1]
    (kept,) = tmp_path.glob("torture-*")
    assert str(kept / "0") in done.stdout
    assert kept.is_dir()
