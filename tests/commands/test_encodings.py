"""Characters that the output encoding lacks are replaced, and nothing fails."""

import io
import os
import sys
from pathlib import Path

import pytest

from normexp.cli import main

RUN = ["data=digits", "model=mlp", "data.train_size=200", "probe=off", "steps=2", "eval_every=2"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["é".encode(), b"\xe9"], ids=["utf-8", "not utf-8"])
def test_every_command_prints_a_question_mark_for_what_the_encoding_lacks(name, monkeypatch):
    """Train in a folder whose name is not ASCII, or not UTF-8 (Python decodes such bytes to surrogates)."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    Path(os.fsdecode(name)).mkdir()
    monkeypatch.chdir(os.fsdecode(name))
    runs = Path.cwd() / "runs"
    for words in (
        ["train", *RUN, "name=run"],
        ["train", "-m", *RUN, "seed=0", "jobs=1", "name=sweep"],
        ["resume", f"{runs}/run"],
        ["resume", f"{runs}/run", "steps=3"],
        ["resume", f"{runs}/sweep"],
        ["report", str(runs)],
        ["runs", str(runs)],
        ["claims"],
    ):
        assert main(words) == 0, words
    text = printed.getvalue().decode("ascii")
    assert "?/runs/run is completed: 2 steps" in text
    assert "/runs/run after step 2 of 3" in text
    assert "sweep runs/sweep: 1 run, 1 done already" in text
