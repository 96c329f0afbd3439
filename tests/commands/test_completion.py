"""Completion as bash queries it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.norms import NORMS


def complete(line: str) -> list[str]:
    """Completions that bash offers for a line."""
    script = f"""
    eval "$(normexp completion bash)"
    COMP_LINE={line!r} COMP_POINT={len(line)}
    _normexp
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("normexp tr", ["train"]),
        ("normexp completion ", ["bash", "zsh", "fish"]),
        (
            "normexp train mod",
            ["model=", "model.channels=", "model.convs=", "model.kernel=", "model.head=", "model.fc_width="],
        ),
        ("normexp train norm=", sorted(NORMS)),
        ("normexp train -m norm=bn,g", ["bn,gn"]),
        ("normexp train norm=gn norm.g", ["norm.gamma=", "norm.groups=", "norm.group_size="]),
        (
            "normexp train -m norm=bn,gn norm.g",
            ["norm.gamma=", "norm.ghost_batch=", "norm.groups=", "norm.group_size="],
        ),
        ("normexp train activation=s", ["sigmoid", "silu"]),
        ("normexp train norm.position=", ["pre", "post", "input"]),
        ("normexp train amp=", ["bf16", "fp16"]),
        ("normexp train debug=", ["anomaly", "fast", "overfit", "profile"]),
        ("normexp train norm.affine=", ["true", "false"]),
        ("normexp train --cfg ", ["job", "hydra", "all"]),
        ("normexp train --mul", ["--multirun"]),
        ("normexp report runs --metric val/l", ["val/loss", "val/loss_batch_statistics"]),
        ("normexp runs --fi", ["--filter"]),
        ("normexp metrics --l", ["--layers"]),
    ],
)
def test_completion_in_bash(line, offers):
    assert complete(line) == offers


def test_completion_of_a_path_in_bash():
    Path("somewhere").mkdir()
    assert complete("normexp train data_dir=some") == ["somewhere"]


def test_completion_of_an_unknown_shell(capsys):
    assert main(["completion", "bsh"]) == 2
    assert "Did you mean bash?" in capsys.readouterr().err
