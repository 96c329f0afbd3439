"""The Python code in docs/python.md runs as shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import docs_api
import pytest

import normexp
from tests.conftest import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(encoding="utf-8"), re.S)


@pytest.mark.long
def test_the_blocks_of_the_page_run_in_order():
    """In a process of their own: they register a norm."""
    Path("page.py").write_text("\n".join(BLOCKS))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "page.py"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first = normexp.load("runs/first")
    assert f"\n{first!r}\n" in done.stdout
    assert re.fullmatch(r"Run\(runs/first, completed, test/accuracy 9[789]\.\d\d %\)", repr(first))
    assert f"tensor({first.metrics['test/accuracy']:.4f}, dtype=torch.float64)" in done.stdout
    assert len(normexp.load_runs("runs/small-grid")) == 4
    # A norm that was registered elsewhere: its runs can be listed and compared, not loaded into a network.
    assert list(normexp.load_runs("runs").filter(norm="center").table("norm.scale")["norm.scale"]) == [2.0]
    with pytest.raises(normexp.ConfigError, match="norm=center: norm is one of"):
        normexp.load("runs/center").model()


def test_the_page_of_functions_has_all_of_them():
    page = docs_api.python_functions()
    assert all(f"\n## normexp.{name}\n" in page for name in normexp.__all__)
    assert "```python\nrun.history(*metrics: str) -> Any\n```" in page
    assert "### normexp.Runs.filter" in page


def test_readme_shows_python_that_runs(monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    train = normexp.train
    monkeypatch.setattr(normexp, "train", lambda *words, **keys: train(*words, **keys, steps=1, quiet=True))
    monkeypatch.setitem(sys.modules, "pandas", None)
    exec(block, {})
    assert list(Path("runs").iterdir())
