"""Compare a planned grid with its folder: which runs are done, and which would be resumed, trained or skipped."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from normexp import NUMERICS
from normexp.compose.compose import Combination
from normexp.config import ConfigError, as_tree, flatten, join_names, name_own_choices, show
from normexp.console import short_path
from normexp.report.groups import differing, hashable
from normexp.report.read import Run, planned_runs, read
from normexp.rundir import lock
from normexp.rundir.reader import displayable_json
from normexp.sweeps import slurm
from normexp.sweeps.manifest import MANIFEST
from normexp.sweeps.outcome import changed_keys, given_keys, has_progress, is_finished
from normexp.sweeps.plan import Plan

MAX_LINES = 8
"""Lines about single runs in the header of a sweep. The rest are only counted."""

MAX_REASON = 100
"""Characters of why combinations are skipped. Their status.json and reports have the whole reason."""


@dataclass
class Survey:
    """The combinations of a grid by what is left to do.

    left: the runs to train. Among them, by name, resumed: those with a checkpoint, replaced: those whose config has changed,
    with the changed keys, and locked: those that another process trains. done, queued: trained already, and waiting or running
    on Slurm. skipped: those that can't be trained, by reason.
    """

    left: list[Combination] = field(default_factory=list)
    resumed: set[str] = field(default_factory=set)
    replaced: dict[str, Sequence[str]] = field(default_factory=dict)
    locked: set[str] = field(default_factory=set)
    done: list[Combination] = field(default_factory=list)
    queued: list[Combination] = field(default_factory=list)
    skipped: Mapping[str, list[Combination]] = field(default_factory=lambda: defaultdict(list))


def survey(plan: Plan) -> Survey:
    """Read the states of a grid's runs. Writes nothing."""
    found, queued = Survey(), set(slurm.queued_jobs(plan.folder).values())
    for run in plan.grid or []:
        directory = plan.folder / run.name
        if run.problem is not None:
            found.skipped[run.problem].append(run)
            continue
        assert run.config is not None
        given = given_keys(run.overrides, plan.loader.repository.sources)
        if run.name in queued:
            found.queued.append(run)
        elif changed := changed_keys(directory, run.config, given=given):
            found.replaced[run.name] = changed
            found.left.append(run)
        elif is_finished(directory):
            found.done.append(run)
        else:
            if lock.holder(directory) is not None:
                found.locked.add(run.name)
            elif has_progress(directory):
                found.resumed.add(run.name)
            found.left.append(run)
    return found


def header(plan: Plan, found: Survey) -> list[str]:
    """The header of a sweep: how many runs it has, and which are not simply trained."""
    left, done, queued = len(found.left), len(found.done), len(found.queued)
    total, skipped = left + done + queued, sum(map(len, found.skipped.values()))
    parts = [f"{total} run{'s' * (total != 1)}"]
    parts += [f"{skipped} combination{'s' * (skipped != 1)} skipped"] * bool(skipped)
    parts += [f"{done} done already"] * bool(done)
    parts += [f"{len(found.resumed)} to resume"] * bool(found.resumed)
    parts += [f"{len(found.locked)} running in another process"] * bool(found.locked)
    parts += [f"{queued} on Slurm"] * bool(queued)
    parts += [f"{min(plan.jobs, left)} at a time"] * (plan.local and left > 1)
    lines = [f"sweep {short_path(plan.folder)}: {', '.join(parts)}"]
    for key, choices in plan.ignored.items():
        group = key.partition(".")[0]
        names = ",".join(choice.removeprefix(f"{group}=") for choice in choices)
        lines.append(f"note: {key} is ignored for {group}={names}, which lack{'s' * (len(choices) == 1)} it")
    for problem, runs in found.skipped.items():
        lines.append(f"{len(runs)} skipped: {show(problem.partition('. ')[0], MAX_REASON)}")
    changes = [f"{plan.labels[name]}: config changed: {', '.join(keys)}" for name, keys in found.replaced.items()]
    lines += changes[:MAX_LINES]
    lines += [f"and {len(changes) - MAX_LINES} more"] * (len(changes) > MAX_LINES)
    lines += [f"training these again; the old ones are kept in {short_path(plan.folder / '.replaced')}"] * bool(changes)
    return lines


def note_other_runs(plan: Plan) -> Iterator[str]:
    """A note if a grid adds runs to a folder with runs of other configs, since reports will show all of them."""
    grid, others = plan.grid or [], list[Run]()
    planned = planned_runs(displayable_json(plan.folder / MANIFEST))
    if all(run.problem or run.name in planned for run in grid):  # the same command again, or resumed
        return
    names = {run.name for run in grid}
    with suppress(ConfigError):  # no runs yet
        others = [run for run in read([plan.folder]).runs if run.directory.name not in names and run.state != "skipped"]
    configs = [{**name_own_choices(flatten(as_tree(run.config))), "numerics": NUMERICS} for run in grid if run.config]
    keys = differing([*others, *(Run(plan.folder, "", "", config, {}, {}) for config in configs)])
    values = {key: {hashable(config[key]) for config in configs if key in config} for key in keys}
    new = [
        {key for key in keys if key in run.config and values[key] and hashable(run.config[key]) not in values[key]}
        for run in others
    ]
    if count := sum(map(bool, new)):
        found = join_names(key for key in keys if key in set().union(*new))
        runs = "1 run that differs" if count == 1 else f"{count} runs that differ"
        yield f"note: {short_path(plan.folder)} already holds {runs} in {found}; reports will show all runs"
