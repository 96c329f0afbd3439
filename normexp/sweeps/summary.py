"""What a sweep says when it begins and when it ends."""

from __future__ import annotations

import dataclasses
import shlex
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console

from normexp import rundir
from normexp.config import ConfigError
from normexp.report import read, terminal
from normexp.rundir import lock
from normexp.sweeps import optuna_study, slurm
from normexp.sweeps.grid import Combination
from normexp.sweeps.hydra_task import skip
from normexp.sweeps.manifest import MANIFEST
from normexp.sweeps.outcome import changes, ended, state, worth_keeping

if TYPE_CHECKING:
    from normexp.sweeps.plan import Plan

MOST = 8
"""Lines for single runs before the first one trains; more are counted."""


def opening(plan: Plan, console: Console) -> list[Combination]:
    """Record what can't be trained, say what there is to do, and return it."""
    if plan.grid is None:
        _say(console, f"sweep {plan.folder}: {plan.trials} trials, {plan.jobs} at a time")
        return []
    reasons: dict[str, list[str]] = defaultdict(list)
    left: list[Combination] = []
    replaced: list[str] = []
    slurm.tidy(plan.folder)
    queued, elsewhere, going_on = set(slurm.waiting(plan.folder).values()), 0, 0
    for each in plan.grid:
        directory = plan.folder / each.name
        if each.problem is not None:
            reasons[each.problem].append(each.name)
            if each.config is None or state(directory) is None:  # what lacks its data for now stays as it is
                skip(directory, each.problem, dataclasses.asdict(each.config) if each.config else each.tree)
            continue
        assert each.config is not None
        if each.name in queued:
            continue
        changed = changes(directory, each.config) if worth_keeping(directory) else []
        if changed:
            replaced.append(f"{each.name}: changed since it was trained: {', '.join(changed)}")
        elif not ended(directory):
            elsewhere += lock.holder(directory) is not None
            going_on += worth_keeping(directory)
        else:
            continue
        left.append(each)
    trainable = sum(each.problem is None for each in plan.grid)
    done = trainable - len(left) - len(queued & {each.name for each in plan.grid})
    parts = [f"{trainable} run{'s' * (trainable != 1)}"]
    parts += [f"{done} done already"] * (done > 0)
    parts += [f"{going_on} from {'its' if going_on == 1 else 'their'} last checkpoint"] * (going_on > 0)
    parts += [f"{elsewhere} in the hands of another process"] * (elsewhere > 0)
    parts += [f"{len(queued)} with Slurm"] * bool(queued)
    parts += [f"{min(plan.jobs, len(left))} at a time"] * (plan.local and len(left) > 1)
    _say(console, f"sweep {plan.folder}: {', '.join(parts)}")
    for problem, names in reasons.items():
        count = f"{len(names)} runs" if len(names) > 1 else names[0]
        _say(console, f"skipped {count}: {problem}")
    _few(console, replaced)
    if replaced:
        _say(console, f"trained again; what was there is kept in {plan.folder / '.replaced'}")
    return left


def closing(plan: Plan, console: Console) -> bool:
    """The table of all runs, where they are and what to do next; returns whether any of this sweep's has no result."""
    if not (plan.folder / MANIFEST).exists():
        with suppress(OSError):
            plan.folder.rmdir()  # the launcher creates it again, empty
        where = f"{plan.folder} is gone: it was moved or deleted while the sweep ran."
        _say(console, f"{where} If it was moved: normexp resume, with its new path.")
        return True
    names = (
        [each.name for each in plan.grid]
        if plan.grid is not None
        else [p.parent.name for p in plan.folder.glob("*/status.json")]
    )
    states = list[str]()
    for name in names:
        with suppress(OSError, ValueError):
            states.append(rundir.read_status(plan.folder / name)["state"])
    console.print()
    if states:
        try:
            terminal.show(console, read.read([plan.folder]))
        except ConfigError as error:  # none of them has a result
            _say(console, str(error))
        console.print()
    unfinished = len(names) - sum(state in ("completed", "diverged", "skipped", "running") for state in states)
    if plan.grid is None:  # several trials may have one run
        unfinished = max(unfinished, plan.trials - optuna_study.made(plan))
    where = shlex.quote(str(plan.folder))
    jobs = slurm.waiting(plan.folder)
    if jobs:
        _say(
            console,
            f"on Slurm       {len(jobs)} jobs go on; the same command picks them up; scancel {slurm.ids(jobs)} ends them",
        )
    if plan.grid is None and (best := optuna_study.best(plan)):
        _say(console, f"best           {plan.cfg.objective} {best}")
    if unfinished:
        _say(console, f"{unfinished} left".ljust(15) + f"normexp resume {where}")
    _say(console, f"sweep          {plan.folder}")
    if states:
        _say(console, f"report         normexp report {where} --html")
        _say(console, f"look inside    normexp tensorboard {where}")
    return unfinished > 0


def _few(console: Console, lines: list[str]) -> None:
    for line in lines[:MOST]:
        _say(console, line)
    if len(lines) > MOST:
        _say(console, f"and {len(lines) - MOST} more")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
