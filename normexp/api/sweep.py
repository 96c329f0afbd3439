"""normexp.sweep: runs the command in a process of its own, since joblib and Hydra would change the state of this one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from normexp.api.console import run_console
from normexp.api.register import registered_in
from normexp.api.runs import Runs, load_runs
from normexp.api.train import TrainingError
from normexp.api.words import argv_of, one_at_a_time, to_words
from normexp.compose.argv import parse_argv
from normexp.compose.isolation import own_hydra_state
from normexp.compose.overrides import validate_overrides
from normexp.config import ConfigError, show
from normexp.console import short_path
from normexp.rundir import process

FORCES_COLORS = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""Variables with which rich writes colors to a pipe. Notebooks set the first."""


def sweep(*words: str, config_dir: str | Path | None = None, quiet: bool = False, **keys: Any) -> Runs:
    """Train a sweep, as `normexp train -m` does, and return its runs.

    words, keys: as in `normexp.train`, with several values: `"norm=bn,ln"`, `lr=[0.01, 0.1]` or `seeds=3`. The items of a list
    are values to sweep over, so a key whose value is a list takes a list of lists. quiet: print nothing.

    Runs that are done are not trained again. Raises ConfigError, as the command does, and KeyboardInterrupt after Ctrl-C, when
    the runs have saved their checkpoints. Runs that failed are among those returned; see their `state`.
    """
    argv = argv_of(to_words(words, keys, sweeps=True), config_dir)
    folder = _planned_folder(argv)
    inherits = run_console(quiet=quiet).is_terminal and not quiet  # the command's live table
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    environment = {name: value for name, value in os.environ.items() if inherits or name not in FORCES_COLORS}
    environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONSAFEPATH": "1",
        "PYTHONIOENCODING": encoding,
    }
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "normexp.api.sweep_process", json.dumps(process.identity()), *argv],
        stdin=subprocess.DEVNULL,
        stdout=None if inherits else subprocess.PIPE,
        stderr=None if inherits else subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C must not reach it twice
        env=environment,
        text=True,
        encoding=encoding,
        errors="replace",
    ) as child:
        interrupted, last = _follow(child, quiet=quiet)
    if interrupted:
        raise KeyboardInterrupt(f"to continue the sweep: normexp resume {show(short_path(folder), 300)}")
    if child.returncode == 2:
        raise ConfigError(last.removeprefix("normexp: ").strip())
    if child.returncode not in (0, 1):
        raise TrainingError(f"{show(short_path(folder), 300)}: its process ended with code {child.returncode}", folder)
    return load_runs(short_path(folder))


def _planned_folder(argv: list[str]) -> Path:
    """The folder of the sweep that the command would train. Raises ConfigError if it can't be trained."""
    with one_at_a_time, own_hydra_state():
        from normexp.sweeps.plan import plan_sweep

        arguments = parse_argv(argv)
        overrides = validate_overrides(arguments.overrides, arguments.config_dir, sweeps=True)
        plan = plan_sweep(overrides, arguments.config_dir, Console(quiet=True))
        for choice in (choice for run in plan.grid or () if run.config for choice in registered_in(run.config)):
            raise ConfigError(
                f"{choice} is registered in this process only, but a sweep trains in others: use normexp.train."
            )
        return plan.folder


def _follow(child: subprocess.Popen[str], *, quiet: bool) -> tuple[bool, str]:
    """Print the output of the process until it ends, and pass Ctrl-C on to it. Returns whether there was one, and the last
    line."""
    interrupted, last = False, ""
    while True:
        try:
            for line in child.stdout or ():
                last = line
                if not quiet:
                    print(line, end="", flush=True)
            child.wait()
            return interrupted, last
        except KeyboardInterrupt:
            interrupted = True
            child.send_signal(signal.SIGINT)
        except BaseException:  # such as a closed standard output
            child.send_signal(signal.SIGTERM)
            raise
