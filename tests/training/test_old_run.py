"""A run that an earlier version began, with other modules and class names, is resumed to the end that it would have had."""

import json
import shutil
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.rundir import read_metrics, read_status

BEGUN = Path(__file__).with_name("old_run")
"""Stopped at step 20 of 40 by version 0.2.0, before its modules were moved."""


def test_an_old_run_is_resumed(capsys):
    shutil.copytree(BEGUN, "runs/old")
    assert main(["resume", "runs/old"]) == 0, capsys.readouterr().err
    (resumed,) = json.loads(Path("runs/old/environment.json").read_text())["resumed"]
    assert resumed["step"] == 20
    words = json.loads((BEGUN / "environment.json").read_text())["command"][1:]
    assert main([*words, "probe.early=0", "eval_samples=null", "name=new"]) == 0  # keys that did not exist then

    old, new = (read_metrics(Path("runs", name)) for name in ("old", "new"))
    assert [entry["step"] for entry in old] == [entry["step"] for entry in new]
    for before, now in zip(old, new, strict=True):
        clock = {tag for tag in now if "second" in tag or tag.startswith("speed/")}
        assert {tag: before[tag] for tag in before.keys() - clock} == pytest.approx(
            {tag: now[tag] for tag in now.keys() - clock}, rel=0.02, abs=1e-4, nan_ok=True
        ), f"step {now['step']}"
    assert read_status(Path("runs/old"))["state"] == "completed"


def test_a_key_that_did_not_exist_then_had_its_default(capsys):
    shutil.copytree(BEGUN, "runs/old")
    path = Path("runs/old/config.yaml")
    path.write_text(path.read_text() + "accumulate: 4\n")
    assert main(["resume", "runs/old"]) == 2
    assert "accumulate" in capsys.readouterr().err
    assert read_status(Path("runs/old"))["step"] == 20
