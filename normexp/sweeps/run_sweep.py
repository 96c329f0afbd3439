"""Run a planned sweep through Hydra's launchers and sweepers, and print what it will do and its results."""

import dataclasses
import json
import shlex
import signal
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from joblib.externals.loky import get_reusable_executor
from omegaconf import DictConfig
from rich.console import Console

from normexp import rundir
from normexp.compose.compose import Combination, quoted
from normexp.config import ConfigError
from normexp.console import print_line
from normexp.report import read, terminal
from normexp.rundir import atomic, lock, process
from normexp.sinks.progress_bar import RunConsole
from normexp.sweeps import launch, optuna_study, slurm
from normexp.sweeps.hydra_task import record_skipped
from normexp.sweeps.manifest import MANIFEST, SESSION_VARIABLE, Session, edit_manifest, read_session, write_manifest
from normexp.sweeps.outcome import changed_keys, has_progress, is_finished, run_state
from normexp.sweeps.plan import Plan, plan_sweep
from normexp.sweeps.progress import ProgressView
from normexp.sweeps.shutdown import Watcher

MAX_LINES = 8
"""Lines about single runs before the first one trains. The rest are only counted."""


def run_sweep(overrides: list[str], *, config_dir: Path | None, arguments: Sequence[str]) -> int:
    """Train the runs that the overrides ask for and that are not done yet; returns the exit code.

    arguments: the words after `normexp train`, as typed. Raises ConfigError, with nothing written, if no run can be trained.
    """
    console = RunConsole()  # a closed pipe (`| head`) ends the display, not the sweep
    plan = plan_sweep(overrides, config_dir, console)
    threads = 1 if plan.local and plan.jobs > 1 else None
    session = Session(["normexp", "train", *arguments], str(Path.cwd()), threads, process.identity(), plan.local)
    session_file = open_session(plan.folder, plan.cfg, session, arguments)
    try:
        interrupted_by = train_runs(plan, session_file, console)
    finally:
        if plan.local:
            close_session(session_file)
    if interrupted_by and plan.local:
        launch.mark_stopped(plan.folder)
    unfinished = _print_summary(plan, console)
    console.close()
    return 128 + interrupted_by if interrupted_by else int(unfinished)


def open_session(folder: Path, cfg: DictConfig, session: Session, arguments: Sequence[str]) -> Path:
    """Create a sweep's folder with its manifest and a session file, which its runs will read; returns the file's path."""
    rundir.create_sweep_directory(folder, lambda: write_manifest(folder, arguments=arguments, session=session))
    for path in folder.glob(".session-*.json"):  # local drivers that were killed leave theirs
        with suppress(OSError, ValueError, TypeError):
            old = read_session(path)
            if old is not None and old.local and process.alive(old.driver) is False:
                path.unlink()
    path = folder / f".session-{session.driver['host']}-{session.driver['pid']}.json"
    atomic.write_text(path, json.dumps(dataclasses.asdict(session)) + "\n")
    cfg.hydra.overrides.hydra.append(f"+hydra.job.env_set.{SESSION_VARIABLE}={quoted(str(path))}")
    return path


def close_session(path: Path) -> None:
    """Delete a session file, so no further run is started, and end joblib's workers, which would idle for minutes."""
    try:
        with atomic.writing(path):
            path.unlink(missing_ok=True)
    finally:
        get_reusable_executor(max_workers=1).shutdown(wait=True, kill_workers=True)


def train_runs(plan: Plan, session_file: Path, console: Console) -> int | None:
    """Train the runs of a plan; returns the signal that interrupted the sweep, if one did."""
    folder = plan.folder
    left = _prepare(plan, console)
    names = None if plan.grid is None else [combination.name for combination in plan.grid if not combination.problem]
    with edit_manifest(folder) as manifest:  # with the planned runs, reports can tell which have not begun
        manifest["runs"] = list(dict.fromkeys([*manifest.get("runs", []), *(names or [])]))
    skipped = sum(combination.problem is not None for combination in plan.grid or [])
    total = plan.trials if names is None else len(names)
    view = ProgressView(console, folder, names=names, total=total, skipped=skipped)
    watch = Watcher(view, folder, session_file)
    interrupted = False
    try:
        with watch.running(local=plan.local):
            if plan.grid is None:
                optuna_study.optimize(plan)
            else:
                launch.launch_grid(plan, left, view.say)
            slurm.wait_for_jobs(folder)
    except KeyboardInterrupt:
        interrupted = True
    except ValueError:  # Optuna's, for trials that were stopped and so have no value
        if session_file.exists():  # a signal deletes it; it is also gone if the sweep's folder was deleted
            raise
    # If the last runs stopped in time, nothing was interrupted but the signal still counts.
    return watch.signal or (signal.SIGINT if interrupted else None)


def _prepare(plan: Plan, console: Console) -> list[Combination]:
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
    lines = [f"sweep {plan.folder}: {', '.join(parts)}"]
    for problem, names in skipped.items():
        lines.append(f"skipped {f'{len(names)} runs' if len(names) > 1 else names[0]}: {problem}")
    lines += replaced[:MAX_LINES]
    lines += [f"and {len(replaced) - MAX_LINES} more"] * (len(replaced) > MAX_LINES)
    lines += [f"trained again; what was there is kept in {plan.folder / '.replaced'}"] * bool(replaced)
    for line in lines:
        print_line(console, line)
    return left


def _print_summary(plan: Plan, console: Console) -> bool:
    """Print the table of all runs and the next steps; returns whether any run of this sweep has no result."""
    folder = plan.folder
    if not (folder / MANIFEST).exists():
        with suppress(OSError):
            folder.rmdir()  # the launcher creates it again, empty
        gone = f"{folder} is gone: it was moved or deleted while the sweep ran."
        print_line(console, f"{gone} If it was moved: normexp resume, with its new path.")
        return True
    names = [path.parent.name for path in folder.glob("*/status.json")]
    if plan.grid is not None:
        names = [run.name for run in plan.grid]
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
    lines, quoted_folder = [], shlex.quote(str(folder))
    if jobs := slurm.queued_jobs(folder):
        ids = slurm.scancel_ids(jobs)
        lines.append(("on Slurm", f"{len(jobs)} jobs go on; the same command picks them up; scancel {ids} ends them"))
    if plan.grid is None and (best := optuna_study.describe_best(plan)):
        lines.append(("best", f"{plan.cfg.objective} {best}"))
    if unfinished:
        lines.append((f"{unfinished} left", f"normexp resume {quoted_folder}"))
    lines.append(("sweep", str(folder)))
    if states:
        lines.append(("report", f"normexp report {quoted_folder} --html"))
        lines.append(("look inside", f"normexp tensorboard {quoted_folder}"))
    for label, text in lines:
        print_line(console, f"{label:<15}{text}")
    return unfinished > 0
