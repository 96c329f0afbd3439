"""Kill runs at random moments and go on with them: they must end, bit for bit, like runs that nobody disturbed.

    python scripts/torture.py [RUNS] [--kills N] [--seed N] [--jobs N] [--json FILE]

RUNS short runs, of every model with every norm in turn, get N kills (SIGKILL) between them, each in a process of its own that
goes through normexp's command line. A kill comes at a moment drawn from the whole life of the process, or in a file operation
drawn from all that it does, or from those of writing a checkpoint: when half of the bytes are there, before a renaming, before
a deletion. Now and then a run is asked to stop, by SIGTERM or SIGINT, once or twice. After each kill its directory must be
readable and have the newest checkpoint that it ever had, else the run is lost; then `normexp resume` goes on with it. Where a
run completes before it has had its kills, it is begun again. Each that completes is compared with the undisturbed one:
weights, optimizer, generators, metrics, events, picture, status.
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

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from same_runs import differences
from torture_victim import Blow, strike

from normexp import rundir
from normexp.commands.resume_run import read_tree
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
SAME = ["steps=30", "batch_size=32", "data.train_size=200", "threads=1", "name=run", "runs_dir=."]


def overrides(number: int) -> list[str]:
    """What the run with this number trains: small, and in the end every combination of choices. One kind diverges."""
    model, norm = KINDS[number % len(KINDS)]
    chance = random.Random(number)
    taken = [chance.choice(choices) for choices in CHOICES]
    if (model, norm) == ("resnet", "none"):
        taken[:2] = [DIVERGING]
    return [f"model={model}", f"norm={norm}", f"seed={number}", *SIZES[model], *SAME, *" ".join(taken).split()]


@dataclass(frozen=True)
class Whole:
    """The undisturbed run: where it is, how long its process took, its file operations, and those of writing checkpoints."""

    directory: Path
    seconds: float
    operations: int
    of_saving: int
    steps: int

    def blow(self, chance: random.Random, step: int) -> Blow:
        """One for a run that goes on after a step, or a bit behind its end."""
        left = 1 - step / self.steps
        kill, moment = (signal.SIGKILL,), chance.uniform(0, self.seconds * (0.4 + 0.65 * left))
        match chance.choices(["moment", "operation", "saving", "asked"], [40, 20, 25, 15])[0]:
            case "moment":
                return Blow(kill, moment)
            case "operation":
                return Blow(kill, operation=chance.randint(1, round(self.operations * left) + 20))
            case "saving":
                return Blow(kill, operation=chance.randint(1, round(self.of_saving * left) + 2), saving=True)
        number = chance.choice([signal.SIGTERM, signal.SIGINT])
        return Blow((number,) * chance.choice([1, 1, 2]), moment)


@dataclass
class Tally:
    """What became of one run. saving, early: the kills while a checkpoint was written, and before there was one. asked: stops by
    other signals. slowest: of them, from one signal to the end. lost, differing: what is wrong, and where."""

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


def undisturbed(place: Path, words: list[str]) -> Whole:
    place.mkdir(parents=True)
    code, seconds = strike(place, words, Blow())
    if code != 0:
        raise SystemExit((place / "log").read_text() + f"The undisturbed run in {place} ended with {code}.")
    counts = json.loads((place / "mark.counts").read_text())
    steps = rundir.read_status(place / "run")["total_steps"]
    return Whole(place / "run", seconds, counts["all"], counts["saving"], steps)


def torture(number: int, folder: Path, *, kills: int, seed: int, told: Callable[[], None]) -> Tally:
    """Kill a run this often; `told` is called each time. Its folder stays where something is wrong."""
    tally, chance = Tally(number, *KINDS[number % len(KINDS)]), random.Random(f"{seed} {number}")
    words = ["train", *overrides(number)]
    whole = undisturbed(folder / "whole", words)
    for attempt in itertools.count(1):
        if tally.kills >= kills or tally.lost or tally.differing:
            break
        place = folder / f"{attempt}"
        place.mkdir()
        if lost := _to_the_end(place, words, whole, chance, tally, kills=kills, told=told):
            tally.lost.append(f"{place}: {lost}")
            break
        tally.completed += 1
        if found := differences(whole.directory, place / "run"):
            tally.differing.append("\n  ".join([f"{place} differs from {whole.directory}:", *found]))
            break
        shutil.rmtree(place)
    if not (tally.lost or tally.differing):
        shutil.rmtree(folder)
    return tally


def _to_the_end(
    place: Path,
    words: list[str],
    whole: Whole,
    chance: random.Random,
    tally: Tally,
    *,
    kills: int,
    told: Callable[[], None],
) -> str | None:
    """Begin a run, and kill it and go on with it until it completes or has had its kills; returns how it was lost, if it was."""
    newest = -1
    while True:
        begun = (place / "run").exists()
        blow = whole.blow(chance, max(newest, 0)) if tally.kills < kills else Blow()
        code, seconds = strike(place, ["resume", "run"] if begun else words, blow)
        tally.resumes += begun
        if code == 0:
            return None
        if code == -signal.SIGKILL:
            tally.kills += 1
            tally.saving += (place / "mark.saving").exists()
            tally.early += not _has_checkpoint(place / "run")
            told()
        elif code is not None and blow.signals and code in (1, 130, 128 + blow.signals[0], -blow.signals[0]):
            tally.asked += 1
            tally.slowest = max(tally.slowest, seconds)
        else:
            return f"its process {'hung' if code is None else f'ended with {code}'}, see {place / 'log'}"
        if not (place / "run").exists():
            if newest >= 0 or begun:
                return "its directory is gone"
            continue
        try:
            newest = _look(place / "run", newest, code)
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def _look(directory: Path, newest: int, code: int) -> int:
    """The step of the newest checkpoint, -1 where there is none, in a directory that is as it should be. Raises what is wrong."""
    state = rundir.read_status(directory)["state"]
    wanted = {"killed", "interrupted", "completed", "diverged"} if code < 0 else {"interrupted", "killed"}
    if state not in wanted:
        raise ValueError(f"its status says {state} after exit code {code}")
    saved, lines = checkpoint.newest(directory, validate(read_tree(directory)))
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
                torture, number, folder / f"{number}", kills=share, seed=seed, told=lambda: progress.advance(bar)
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
    for each in tallies:
        counts = (each.kills, each.saving, each.early, each.asked, each.resumes, each.completed)
        shown.add_row(each.model, each.norm, *map(str, counts), _verdict(each))
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
    console, began = Console(), time.monotonic()
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)  # where the fork server looks for what it is to import
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
        os._exit(130)  # with all threads; what they have started ends in a second
    with suppress(OSError):  # those that are kept are in it
        folder.rmdir()
    console.print(table(tallies))
    for tally in tallies:
        for line in (*tally.lost, *tally.differing):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(tally) for tally in tallies], indent=2) + "\n")
    lost, differing = sum(len(each.lost) for each in tallies), sum(len(each.differing) for each in tallies)
    kills, saving, early = (sum(getattr(each, name) for each in tallies) for name in ("kills", "saving", "early"))
    slowest = max(tally.slowest for tally in tallies)
    console.print(
        f"{time.monotonic() - began:.0f} s; asked to stop {sum(each.asked for each in tallies)} times, at most {slowest:.2f} s",
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
