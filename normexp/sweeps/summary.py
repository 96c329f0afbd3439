"""Print what a sweep is going to do before it starts, and its results at the end."""

from __future__ import annotations

import dataclasses
import shlex
from collections import defaultdict
from contextlib import suppress

from rich.console import Console

from normexp.compose.composer import Combination
from normexp.config import ConfigError
from normexp.console import print_line
from normexp.report import read, terminal
from normexp.rundir import lock
from normexp.sweeps import optuna_study, slurm
from normexp.sweeps.hydra_task import record_skipped
from normexp.sweeps.manifest import MANIFEST
from normexp.sweeps.outcome import changed_keys, has_progress, is_finished, run_state
from normexp.sweeps.plan import Plan

MAX_LINES = 8
"""Lines about single runs before the first one trains. The rest are only counted."""

LABEL_WIDTH = 15


def prepare(plan: Plan, console: Console) -> list[Combination]:
    """Record the combinations that can't be trained, print what the sweep will do, and return the runs to train."""
    if plan.grid is None:
        print_line(console, f"sweep {plan.folder}: {plan.trials} trials, {plan.jobs} at a time")
        return []
    skipped: dict[str, list[str]] = defaultdict(list)
    left: list[Combination] = []
    replaced: list[str] = []
    slurm.mark_lost_runs(plan.folder)
    queued, locked, resumed = set(slurm.queued_jobs(plan.folder).values()), 0, 0
    for run in plan.grid:
        directory = plan.folder / run.name
        if run.problem is not None:
            skipped[run.problem].append(run.name)
            if run.config is None or run_state(directory) is None:  # a run that only lacks its data keeps its state
                record_skipped(directory, run.problem, dataclasses.asdict(run.config) if run.config else run.tree)
            continue
        assert run.config is not None
        if run.name in queued:
            continue
        if has_progress(directory) and (changed := changed_keys(directory, run.config)):
            replaced.append(f"{run.name}: changed since it was trained: {', '.join(changed)}")
        elif is_finished(directory):
            continue
        else:
            locked += lock.holder(directory) is not None
            resumed += has_progress(directory)
        left.append(run)
    trainable = sum(run.problem is None for run in plan.grid)
    done = trainable - len(left) - len(queued & {run.name for run in plan.grid})
    parts = [f"{trainable} run{'s' * (trainable != 1)}"]
    parts += [f"{done} done already"] * (done > 0)
    parts += [f"{resumed} from {'its' if resumed == 1 else 'their'} last checkpoint"] * (resumed > 0)
    parts += [f"{locked} in the hands of another process"] * (locked > 0)
    parts += [f"{len(queued)} with Slurm"] * bool(queued)
    parts += [f"{min(plan.jobs, len(left))} at a time"] * (plan.local and len(left) > 1)
    print_line(console, f"sweep {plan.folder}: {', '.join(parts)}")
    for problem, names in skipped.items():
        print_line(console, f"skipped {f'{len(names)} runs' if len(names) > 1 else names[0]}: {problem}")
    for line in replaced[:MAX_LINES]:
        print_line(console, line)
    if len(replaced) > MAX_LINES:
        print_line(console, f"and {len(replaced) - MAX_LINES} more")
    if replaced:
        print_line(console, f"trained again; what was there is kept in {plan.folder / '.replaced'}")
    return left


def print_summary(plan: Plan, console: Console) -> bool:
    """Print the table of all runs and the next steps; returns whether any run of this sweep has no result."""
    folder = plan.folder
    if not (folder / MANIFEST).exists():
        with suppress(OSError):
            folder.rmdir()  # the launcher creates it again, empty
        gone = f"{folder} is gone: it was moved or deleted while the sweep ran."
        print_line(console, f"{gone} If it was moved: normexp resume, with its new path.")
        return True
    if plan.grid is not None:
        names = [run.name for run in plan.grid]
    else:
        names = [path.parent.name for path in folder.glob("*/status.json")]
    states = [state for name in names if (state := run_state(folder / name)) is not None]
    console.print()
    if states:
        try:
            terminal.show(console, read.read([folder]))
        except ConfigError as error:  # no run has a result
            print_line(console, str(error))
        console.print()
    unfinished = len(names) - sum(state in ("completed", "diverged", "skipped", "running") for state in states)
    if plan.grid is None:  # several trials may share a run
        unfinished = max(unfinished, plan.trials - optuna_study.count_trials(plan))

    def line(label: str, text: str) -> None:
        print_line(console, f"{label:<{LABEL_WIDTH}}{text}")

    if jobs := slurm.queued_jobs(folder):
        ids = slurm.scancel_ids(jobs)
        line("on Slurm", f"{len(jobs)} jobs go on; the same command picks them up; scancel {ids} ends them")
    if plan.grid is None and (best := optuna_study.describe_best(plan)):
        line("best", f"{plan.cfg.objective} {best}")
    if unfinished:
        line(f"{unfinished} left", f"normexp resume {shlex.quote(str(folder))}")
    line("sweep", str(folder))
    if states:
        line("report", f"normexp report {shlex.quote(str(folder))} --html")
        line("look inside", f"normexp tensorboard {shlex.quote(str(folder))}")
    return unfinished > 0
