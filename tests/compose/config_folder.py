"""A user's config folder for tests: own/, in the current folder."""

from pathlib import Path

from normexp.cli import main

GLOBAL = "# @package _global_\n"


def write(name, content):
    path = Path("own", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def refused(capsys, *words):
    """The error message of a refused command. Asserts that nothing was executed, trained or printed."""
    assert main(list(words)) == 2
    captured = capsys.readouterr()
    sentence, *more = captured.err.splitlines()
    assert sentence.startswith("normexp: ")
    assert more == []
    assert captured.out == ""
    assert not Path("marker").exists()
    assert not Path("runs").exists()
    return sentence
