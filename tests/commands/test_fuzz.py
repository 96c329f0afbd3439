"""With any arguments, `normexp train` trains, or exits with code 2 and one sentence and leaves no files behind.

To test other lines, and more of them through the command line:

    NORMEXP_FUZZ_SEED=7 NORMEXP_FUZZ=100 pytest tests/commands/test_fuzz.py
"""

import contextlib
import faulthandler
import io
import os
import re
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from normexp import rundir
from normexp.commands import train
from normexp.config import ConfigError
from normexp.sweeps import plan, run_sweep
from tests.commands.lines import Line, lines
from tests.commands.shell import NORMEXP

SEED = int(os.environ.get("NORMEXP_FUZZ_SEED", "0"))
SHELL = int(os.environ.get("NORMEXP_FUZZ", "5"))
HALF = int(os.environ.get("NORMEXP_FUZZ_LINES", "160")) // 2
LIMIT = 20
"""Seconds that a line may take in process; most take a tenth of a second."""


class Planned(Exception):  # noqa: N818 - it is none
    """Raised instead of training."""


def as_asked(examples, part=0):
    """Hypothesis settings: the same lines each time, different ones for each seed and part."""
    chosen = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # lines are short as they are, and shrinking takes minutes
    )
    return lambda test: seed(100 * SEED + part)(chosen(test))


def is_one_sentence(text):
    return (
        0 < len(text) <= 600
        and text.isprintable()
        and not re.search(r"Traceback|omegaconf|antlr|object at 0x|\bLexer|\b[A-Z]\w+(Error|Exception)\b", text)
    )


@contextlib.contextmanager
def at_most(seconds):
    """Exit with a traceback if the block hangs."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def left_behind(folder=None):
    """Files in a folder (default: the current one), without hypothesis's cache."""
    return [path for path in (folder or Path()).iterdir() if path.name != ".hypothesis"]


@pytest.fixture
def planning(monkeypatch):
    """Replace training, so `normexp train` only plans."""
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode

    def planned(*args, **kwargs):
        raise Planned

    monkeypatch.setattr("normexp.training.new_run.run", planned)
    monkeypatch.setattr(run_sweep, "open_session", planned)
    monkeypatch.setattr(plan, "check_data", lambda grid, folder: grid)
    # Hydra composes a run's config twice, the first time for its mode, which is known here. The command line does both.
    monkeypatch.setattr(Hydra, "get_mode", lambda self, **options: RunMode.RUN)


def outcome(line: Line) -> str:
    """Run a line in this process: it is planned, printed or refused. Raises AssertionError for a bad message."""
    out, err = io.StringIO(), io.StringIO()
    with at_most(LIMIT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = train.main(list(line.words))
        except Planned:
            return "planned"
        except ConfigError as error:
            assert is_one_sentence(str(error)), str(error)
            assert err.getvalue() == ""
            return "refused"
    assert code == 0
    assert out.getvalue(), "neither trained nor refused"
    return "printed"


@pytest.mark.long
@pytest.mark.parametrize("half", [0, 1])
def test_in_process(planning, half):
    found = Counter()

    @as_asked(HALF, half)
    @given(lines(small=False))
    def each(line):
        became = outcome(line)
        found[became] += 1
        assert not (line.wrong and became == "planned"), "a wrong value was taken"
        assert left_behind() == []

    # In a thread of its own: Hydra on top of pytest's deep stack is a third slower, since Python then maps memory at every call.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(each).result()
    assert sum(found.values()) >= HALF
    assert min(found["planned"], found["refused"]) > HALF / 20, found  # the lines are random: either may be rare


def is_quick(line):
    """Whether a line is no sweep, downloads nothing and stays in its folder."""
    slow = r"-m$|--multirun$|\W*data=\W*(mnist|fashion|cifar)|\W*runs_dir=\W*[/~.]"
    return not any(re.match(slow, word) for word in line.words)


@pytest.mark.long
def test_through_the_command_line(tmp_path):
    @as_asked(SHELL)
    @given(lines(small=True).filter(is_quick))
    def each(line):
        folder = tmp_path / str(len(left_behind(tmp_path)))
        folder.mkdir()
        words = [*line.words, *([] if line.wrong else ["steps=1", "data.train_size=200"])]
        env = {**os.environ, "HOME": str(folder)}
        done = subprocess.run(
            [*NORMEXP, "train", *(word.encode("utf-8", "surrogatepass") for word in words)],
            cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        runs = list(folder.rglob("status.json"))
        if done.returncode == 2:
            assert re.fullmatch(r"normexp: .+\n", done.stderr), done.stderr
            assert is_one_sentence(done.stderr[:-1]), done.stderr
            assert (done.stdout, left_behind(folder)) == ("", [])
        elif {"--cfg", "-c"} & set(words):
            assert (done.returncode, runs) == (0, [])
        else:
            assert not line.wrong
            assert (done.returncode, len(runs)) == (0, 1), done.stderr
        if runs:
            assert rundir.read_status(runs[0].parent)["state"] in ("completed", "diverged")

    each()
