"""Python files in the current folder never replace modules of libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.shell import NORMEXP
from tests.sweeps.sweeping import SHORT, states

NAMES = [
    "copy",
    "random",
    "queue",
    "socket",
    "logging",
    "tempfile",
    "yaml",
    "numpy",
    "torch",
    "joblib",
    "hydra",
    "rich",
]
"""Modules that the driver, joblib's workers, the fork server or the resource trackers import."""

SCRIPT = [str(Path(sys.executable).with_name("normexp"))]


@pytest.mark.long
@pytest.mark.parametrize("command", [NORMEXP, pytest.param(SCRIPT, marks=pytest.mark.slow)], ids=["module", "script"])
def test_a_sweep_imports_nothing_from_the_current_folder(command):
    for name in NAMES:
        Path(f"{name}.py").write_text(f"open('imported-{name}', 'w').close()\nraise SystemExit(3)\n")
    words = ["train", "-m", *SHORT, "model=mlp", "seed=0,1", "steps=2", "jobs=2", "name=s"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300, check=False)
    assert not list(Path().glob("imported-*"))
    assert (done.returncode, done.stderr) == (0, "")
    assert set(states("runs/s").values()) == {"completed"}
