"""Kill runs at random moments and resume them: they must end bitwise equal to undisturbed runs.

    python scripts/torture.py [RUNS] [--kills N] [--seed N] [--jobs N] [--json FILE]

RUNS short runs, of all models and norms in turn, share N kills (SIGKILL). Each is a process that runs normexp's command line. A
kill comes at a random moment of the process, or in a random file operation of all or of those that write a checkpoint: after
half of the bytes, before a rename, before a deletion. Some runs are asked to stop by SIGTERM or SIGINT, once or twice. After
each kill the run directory must be readable and contain the newest checkpoint that it ever had, or the run is lost. Then
`normexp resume` resumes it. A run that completes before its last kill starts again. Each completed run is compared with the
undisturbed one: weights, optimizer, generators, metrics, events, histogram sheet, status.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fault_process import Fault, run_with_fault
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from same_runs import differences

from normexp import rundir
from normexp.commands.resume_run import read_stored_config
from normexp.compose.validate import validate
from normexp.training import checkpoint

KINDS = [
    kind
    for at in range(15)
    if (kind := (("mlp", "cnn", "resnet")[at % 3], ("none", "bn", "ln", "gn", "in")[at % 5])) != ("mlp", "in")
]
SIZES = {"mlp": ["model.width=16"], "cnn": ["model.channels=[4,8]"], "resnet": ["model.depth=8", "model.width=4"]}
CHOICES = [
    ["optim=sgd", "optim=adam lr=0.003", "optim=adamw lr=0.003 grad_clip=0.5"],
    ["schedule=cosine", "schedule=onecycle", "schedule=step", "schedule=constant schedule.warmup=0.3"],
    ["dropout=0.1", "data.augment=[crop,flip]", "dropout=0.2 data.augment=[crop]"],
    ["probe=full probe.every=5", "probe=full probe.every=4", "probe=full probe.landscape=true probe.landscape_every=8"],
    ["checkpoint_every=3", "checkpoint_every=5", "checkpoint_every=7"],
    ["log_every=4 eval_every=9", "log_every=1", "log_every=100 eval_every=7"],
]
DIVERGING = "lr=10 schedule=constant schedule.warmup=0.9 activation=gelu"
COMMON = ["steps=30", "batch_size=32", "data.train_size=200", "threads=1", "name=run", "runs_dir=."]


def overrides(number: int) -> list[str]:
    """The overrides of the run with this number: small, and a random combination of choices. One kind diverges."""
    model, norm = KINDS[number % len(KINDS)]
    rng = random.Random(number)
    chosen = [rng.choice(choices) for choices in CHOICES]
    if (model, norm) == ("resnet", "none"):
        chosen[:2] = [DIVERGING]
    return [f"model={model}", f"norm={norm}", f"seed={number}", *SIZES[model], *COMMON, *" ".join(chosen).split()]


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run: its directory, the seconds of its process, and its file operations: all, and to save checkpoints."""

    directory: Path
    seconds: float
    operations: int
    saving_operations: int
    steps: int

    def random_fault(self, rng: random.Random, step: int) -> Fault:
        """Draw a fault for a run that is resumed after a step. It may come shortly after the run's end."""
        left = 1 - step / self.steps
        kill, moment = (signal.SIGKILL,), rng.uniform(0, self.seconds * (0.4 + 0.65 * left))
        match rng.choices(["moment", "operation", "saving", "asked"], [40, 20, 25, 15])[0]:
            case "moment":
                return Fault(kill, moment)
            case "operation":
                return Fault(kill, operation=rng.randint(1, round(self.operations * left) + 20))
            case "saving":
                return Fault(kill, operation=rng.randint(1, round(self.saving_operations * left) + 2), saving=True)
        number = rng.choice([signal.SIGTERM, signal.SIGINT])
        return Fault((number,) * rng.choice([1, 1, 2]), moment)


@dataclass
class Tally:
    """Counts for one run.

    saving, early: kills while a checkpoint was written, and before the first one. asked: stops by other signals. slowest: the
    most seconds from such a signal to the end of the process. lost, differing: descriptions of failures.
    """

    number: int
    model: str
    norm: str
    kills: int = 0
    saving: int = 0
    early: int = 0
    asked: int = 0
    slowest: float = 0.0
    resumes: int = 0
    completed: int = 0
    lost: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def run_undisturbed(directory: Path, words: list[str]) -> Undisturbed:
    directory.mkdir(parents=True)
    code, seconds = run_with_fault(directory, words, Fault())
    if code != 0:
        raise SystemExit((directory / "log").read_text() + f"The undisturbed run in {directory} ended with {code}.")
    counts = json.loads((directory / "mark.counts").read_text())
    steps = rundir.read_status(directory / "run")["total_steps"]
    return Undisturbed(directory / "run", seconds, counts["all"], counts["saving"], steps)


def torture(number: int, folder: Path, *, kills: int, seed: int, on_kill: Callable[[], None]) -> Tally:
    """Kill a run this often. Its folder is kept if it is lost or differs."""
    tally, rng = Tally(number, *KINDS[number % len(KINDS)]), random.Random(f"{seed} {number}")
    words = ["train", *overrides(number)]
    undisturbed = run_undisturbed(folder / "undisturbed", words)
    for attempt in itertools.count(1):
        if tally.kills >= kills or tally.lost or tally.differing:
            break
        directory = folder / f"{attempt}"
        directory.mkdir()
        if lost := _run_to_completion(directory, words, undisturbed, rng, tally, kills=kills, on_kill=on_kill):
            tally.lost.append(f"{directory}: {lost}")
            break
        tally.completed += 1
        if lines := differences(undisturbed.directory, directory / "run"):
            tally.differing.append("\n  ".join([f"{directory} differs from {undisturbed.directory}:", *lines]))
            break
        shutil.rmtree(directory)
    if not (tally.lost or tally.differing):
        shutil.rmtree(folder)
    return tally


def _run_to_completion(
    directory: Path,
    words: list[str],
    undisturbed: Undisturbed,
    rng: random.Random,
    tally: Tally,
    *,
    kills: int,
    on_kill: Callable[[], None],
) -> str | None:
    """Start a run, kill and resume it until it completes, which it may do after its last kill. Returns how it was lost."""
    newest = -1
    while True:
        started = (directory / "run").exists()
        fault = undisturbed.random_fault(rng, max(newest, 0)) if tally.kills < kills else Fault()
        code, seconds = run_with_fault(directory, ["resume", "run"] if started else words, fault)
        tally.resumes += started
        if code == 0:
            return None
        if code == -signal.SIGKILL:
            tally.kills += 1
            tally.saving += (directory / "mark.saving").exists()
            tally.early += not _has_checkpoint(directory / "run")
            on_kill()
        elif code is not None and fault.signals and code in (1, 130, 128 + fault.signals[0], -fault.signals[0]):
            tally.asked += 1
            tally.slowest = max(tally.slowest, seconds)
        else:
            return f"its process {'hung' if code is None else f'ended with {code}'}, see {directory / 'log'}"
        if not (directory / "run").exists():
            if newest >= 0 or started:
                return "its directory is gone"
            continue
        try:
            newest = _check(directory / "run", newest, code)
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def _check(directory: Path, newest: int, code: int) -> int:
    """Check a run directory after an exit code. Returns the step of its newest checkpoint, or -1. Raises ValueError."""
    state = rundir.read_status(directory)["state"]
    expected = {"killed", "interrupted", "completed", "diverged"} if code < 0 else {"interrupted", "killed"}
    if state not in expected:
        raise ValueError(f"its status says {state} after exit code {code}")
    saved, lines = checkpoint.newest(directory, validate(read_stored_config(directory)))
    if lines:
        raise ValueError(" ".join(lines))
    step = saved["step"] if saved else -1
    if step < newest or (saved is None and _has_checkpoint(directory)):
        raise ValueError(f"its newest checkpoint is of step {step}, and was of {newest}")
    if saved or (directory / "metrics.jsonl").exists():
        steps = [entry["step"] for entry in rundir.read_metrics(directory)]
        if steps != sorted(set(steps)):
            raise ValueError(f"metrics.jsonl has the steps {steps}")
    return int(step)


def _has_checkpoint(directory: Path) -> bool:
    return any((directory / name).exists() for name in (checkpoint.NAME, checkpoint.PREVIOUS))


def torture_all(folder: Path, *, runs: int, kills: int, seed: int, jobs: int, console: Console) -> list[Tally]:
    shares = [kills // runs + (number < kills % runs) for number in range(runs)]
    columns = (TextColumn("kills"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(jobs) as pool,
    ):
        bar = progress.add_task("", total=kills)
        futures = [
            pool.submit(
                torture, number, folder / f"{number}", kills=share, seed=seed, on_kill=lambda: progress.advance(bar)
            )
            for number, share in enumerate(shares)
        ]
        for done, future in enumerate(as_completed(futures), start=1):
            tally = future.result()
            if not console.is_terminal:
                line = f"{done}/{runs}  model={tally.model} norm={tally.norm}: {tally.kills} kills, {_verdict(tally)}"
                console.print(line, highlight=False)
    return [future.result() for future in futures]


def _verdict(tally: Tally) -> str:
    return "lost" if tally.lost else "differing" if tally.differing else "same"


def table(tallies: list[Tally]) -> Table:
    heads = ("model", "norm", "kills", "in a checkpoint", "before one", "asked to stop", "resumes", "completed", "")
    shown = Table(*heads, box=None, pad_edge=False)
    for tally in tallies:
        counts = (tally.kills, tally.saving, tally.early, tally.asked, tally.resumes, tally.completed)
        shown.add_row(tally.model, tally.norm, *map(str, counts), _verdict(tally))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, nargs="?", default=len(KINDS), metavar="RUNS")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if min(arguments.runs, arguments.kills, arguments.jobs) < 1:
        parser.error("RUNS, --kills and --jobs are at least 1")
    console, start = Console(), time.monotonic()
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)  # for the imports of the fork server
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    try:
        tallies = torture_all(
            folder,
            runs=arguments.runs,
            kills=arguments.kills,
            seed=arguments.seed,
            jobs=arguments.jobs,
            console=console,
        )
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(130)  # without waiting for threads; their processes end within a second
    with suppress(OSError):  # it may contain kept runs
        folder.rmdir()
    console.print(table(tallies))
    for tally in tallies:
        for line in (*tally.lost, *tally.differing):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(tally) for tally in tallies], indent=2) + "\n")
    lost, differing = (sum(len(getattr(tally, name)) for tally in tallies) for name in ("lost", "differing"))
    names = ("kills", "saving", "early", "asked")
    kills, saving, early, asked = (sum(getattr(tally, name) for tally in tallies) for name in names)
    slowest = max(tally.slowest for tally in tallies)
    console.print(
        f"{time.monotonic() - start:.0f} s; asked to stop {asked} times, at most {slowest:.2f} s",
        highlight=False,
    )
    console.print(
        f"{kills} kills ({saving} of them while a checkpoint was written, {early} before the first one), "
        f"{lost} lost, {differing} differing",
        highlight=False,
        soft_wrap=True,
    )
    sys.exit(1 if lost or differing else 0)


if __name__ == "__main__":
    main()
