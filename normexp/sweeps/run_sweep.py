"""Run a planned sweep through Hydra's launchers and sweepers; print its header and its results."""

import dataclasses
import json
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from joblib.externals.loky import get_reusable_executor
from omegaconf import DictConfig
from rich.console import Console

from normexp import rundir
from normexp.compose.compose import Combination, quoted
from normexp.config import ConfigError, as_tree
from normexp.console import print_line, print_message, short_path
from normexp.report import read, terminal
from normexp.report.columns import widen
from normexp.rundir import atomic, process
from normexp.sinks.progress_bar import RunConsole
from normexp.sweeps import launch, optuna_study, slurm
from normexp.sweeps.hydra_task import record_skipped
from normexp.sweeps.manifest import (
    MANIFEST,
    SESSION_VARIABLE,
    Session,
    edit_manifest,
    read_session,
    session_path,
    write_manifest,
)
from normexp.sweeps.names import key_of
from normexp.sweeps.outcome import run_state
from normexp.sweeps.plan import Plan, plan_sweep
from normexp.sweeps.progress import ProgressView
from normexp.sweeps.shutdown import Watcher
from normexp.sweeps.survey import header, note_other_runs, survey


def run_sweep(overrides: list[str], *, config_dir: Path | None, arguments: Sequence[str], quiet: bool = False) -> int:
    """Train the runs that the overrides ask for and that are not done yet; returns the exit code.

    arguments: the words after `normexp train`, as typed. quiet: print only the results. Raises ConfigError, with nothing written,
    if no run can be trained.
    """
    console = RunConsole(quiet=quiet)  # a closed pipe (`| head`) ends the display, not the sweep
    plan = plan_sweep(overrides, config_dir, console)
    for note in note_other_runs(plan):
        print_message(console, note)
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
    if quiet:
        console = RunConsole()
    else:
        console.print()
    unfinished = _print_summary(plan, console, with_skipped=quiet or plan.grid is None)
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
    path = session_path(folder, session.driver)
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
    _record_plan(plan)
    names = None if plan.grid is None else [run.name for run in plan.grid if not run.problem]
    view = ProgressView(console, folder, names, plan.trials if names is None else len(names), plan.labels)
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
    """Record the combinations that can't be trained, print the header of the sweep, and return the runs to train."""
    if plan.grid is None:
        print_message(console, f"sweep {short_path(plan.folder)}: {plan.trials} trials, {plan.jobs} at a time")
        return []
    slurm.mark_lost_runs(plan.folder)
    found = survey(plan)
    for problem, runs in found.skipped.items():
        for run in runs:
            directory = plan.folder / run.name
            if run.config is None or run_state(directory) is None:  # a run that only lacks its data keeps its state
                record_skipped(directory, problem, as_tree(run.config) if run.config else run.tree)
    for line in header(plan, found):
        print_message(console, line)
    return found.left


def _record_plan(plan: Plan) -> None:
    """Record the planned runs, so reports can tell which have not begun, and the skipped ones that are no longer planned."""
    planned = {run.name for run in plan.grid or []}
    with edit_manifest(plan.folder) as manifest:
        trainable = [run.name for run in plan.grid or [] if not run.problem]
        manifest["runs"] = list(dict.fromkeys([*manifest.get("runs", []), *trainable]))
        if plan.grid is not None:
            others = {path.parent.name for path in plan.folder.glob("*/status.json")} - planned - {*manifest["runs"]}
            manifest["dropped"] = sorted(name for name in others if run_state(plan.folder / name) == "skipped")


def _print_summary(plan: Plan, console: Console, *, with_skipped: bool) -> bool:
    """Print the table of all runs and the next steps; returns whether any run of this sweep has no result.

    with_skipped: whether to list the skipped combinations; the header of a grid has done so.
    """
    folder, shown = plan.folder, short_path(plan.folder)
    if not (folder / MANIFEST).exists():
        with suppress(OSError):
            folder.rmdir()  # the launcher creates it again, empty
        print_line(
            console, f"{shown} was moved or deleted while the sweep ran. If it was moved: normexp resume NEW_PATH"
        )
        return True
    names = [path.parent.name for path in folder.glob("*/status.json")]
    if plan.grid is not None:
        names = [run.name for run in plan.grid]
    states = [state for name in names if (state := run_state(folder / name)) is not None]
    if states:
        try:
            collection = read.read([shown])
            runs = [run for run in collection.runs if with_skipped or run.state != "skipped"]
            collection = dataclasses.replace(collection, runs=runs)
            widen(console)
            terminal.show(console, collection, command=f"normexp report {shlex.quote(str(shown))}")
        except ConfigError as error:  # no run has a result
            print_line(console, str(error))
        console.print()
    unfinished = len(names) - sum(state in ("completed", "diverged", "skipped", "running") for state in states)
    if plan.grid is None:  # several trials may share a run
        unfinished = max(unfinished, plan.trials - optuna_study.count_trials(plan))
    for label, text in _next_steps(plan, states, unfinished):
        print_line(console, f"{label:<15}{text}")
    return unfinished > 0


def _next_steps(plan: Plan, states: Sequence[str], unfinished: int) -> Iterator[tuple[str, str]]:
    """The folder of the results and the commands that make sense next, with labels."""
    shown = shlex.quote(str(short_path(plan.folder)))
    jobs = slurm.queued_jobs(plan.folder)
    if jobs:
        cancel = f"scancel {slurm.scancel_ids(jobs)}"
        yield "on Slurm", f"{len(jobs)} jobs, which continue without this command; to cancel: {cancel}"
    if plan.grid is None and (best := optuna_study.describe_best(plan)):
        yield "best", f"{plan.cfg.objective} {best}"
    if running := states.count("running"):
        yield f"{running} running", f"in another process; to see their status: normexp runs {shown}"
    elif unfinished and not jobs:
        yield f"{unfinished} left", f"normexp resume {shown}"
    if plan.grid and not unfinished and {*states} <= {"diverged", "skipped"}:
        run = next(run for run in plan.grid if not run.problem)
        config_dir = ["--config-dir", str(plan.loader.config_dir)] if plan.loader.config_dir else []
        overrides = [text for text in run.overrides if key_of(text) not in ("name", "debug")]
        smaller = "lr or init.std" if run.config and run.config.init.name == "normal" else "lr"
        yield "to fix it", f"a smaller {smaller}, grad_clip=1, or another norm"
        if plan.cfg.debug != "anomaly":
            yield "see where", shlex.join(["normexp", "train", *config_dir, *overrides, "debug=anomaly"])
    yield "sweep", str(short_path(plan.folder))
    if states:
        yield "report", f"normexp report {shown} --html"
        yield "look inside", f"normexp tensorboard {shown}"
