"""`normexp claims run`: train what claims need as one sweep that they share, judge them, and write their verdicts down."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from normexp import rundir
from normexp.claims import verdict as files
from normexp.claims.judge import judge
from normexp.claims.load import read
from normexp.claims.measure import Planned, Results, planned
from normexp.claims.schema import Claim, Measure, Value
from normexp.claims.series import series
from normexp.compose.compose import quoted
from normexp.compose.overrides import Arguments, check
from normexp.config import ConfigError, listed, nearest
from normexp.rundir import atomic, process
from normexp.sweeps import launch
from normexp.sweeps.grid import Composer, with_data
from normexp.sweeps.manifest import Session, close_session, open_session, write_manifest
from normexp.sweeps.outcome import ended, set_aside
from normexp.sweeps.plan import Plan, aim, composed, jobs_of, take_part, train_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omegaconf import DictConfig

    from normexp.claims.exact.base import Worked


@dataclass(frozen=True)
class Asked:
    """What a command asks for. overrides: of where and how runs are made. again: also what was judged before. words: as typed
    behind `normexp`."""

    names: list[str]
    scale: Any
    quick: bool
    again: bool
    overrides: list[str]
    config_dir: Path | None
    words: list[str]


@dataclass
class Outcome:
    """What came of a command. verdicts: of the claims that have one now. problems: sentences. signal: that interrupted it."""

    verdicts: list[Mapping[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    signal: int | None = None


def run(asked: Asked, folder: Path, console: Console) -> Outcome:
    """Judge each claim that has no verdict by its rule and this code so far. folder: of all claims.

    Raises ConfigError, with nothing written, where a claim's file or a run that it asks for is not as it should be.
    """
    claims = [read(name, asked.config_dir, scale=asked.scale, quick=asked.quick) for name in asked.names]
    for claim in claims:
        check_overrides(claim, asked.config_dir)
    code, outcome = files.code(asked.config_dir), Outcome()
    with Trainer.open(asked, folder, code, console) as trainer:
        for i, claim in enumerate(claims, start=1):
            path = files.path_of(folder, claim.name, scale=claim.scale, quick=claim.quick)
            known = files.read(path)
            head = f"{claim.name} ({i} of {len(claims)}): {claim.statement}" if len(claims) > 1 else claim.statement
            if known is not None and files.is_fresh(known, claim, code) and not asked.again:
                outcome.verdicts.append(known)
                _say(console, f"{claim.name}: judged before, {known['verdict']}; --again does it once more")
                continue
            _say(console, head)
            try:
                made = computed(claim, code, asked) if claim.kind == "exact" else trainer.judged(claim, asked)
            except ConfigError as error:
                if len(claims) == 1:
                    raise
                outcome.problems.append(f"{claim.name}: {error}")
                continue
            finally:
                outcome.signal = trainer.signal
            if outcome.signal is not None:
                break
            if isinstance(made, str):
                outcome.problems.append(f"{claim.name}: {made}")
                continue
            with atomic.writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            files.write(path, made)
            outcome.verdicts.append(files.read(path) or made)
            _say(console, f"{claim.name}: {made['verdict']}. {made['because']}")
    for problem in outcome.problems:
        _say(console, problem)
    return outcome


@dataclass
class Trainer:
    """The sweep that all claims of a command share: its config and its session are made when the first one needs them."""

    folder: Path
    config_dir: Path | None
    code: str
    console: Console
    session: Session
    cfg: DictConfig
    loader: Any
    jobs: int
    path: Path | None = None
    signal: int | None = None
    replaced: set[str] = field(default_factory=set)
    """Runs that `--again` has set aside, each once, however many claims share it."""

    @classmethod
    @contextmanager
    def open(cls, asked: Asked, folder: Path, code: str, console: Console) -> Iterator[Trainer]:
        with composed(asked.overrides, asked.config_dir) as (cfg, loader):
            runs, jobs = folder / f"runs-{code}", jobs_of(cfg)
            aim(cfg, runs.absolute(), jobs)
            threads = 1 if jobs > 1 else None
            # Whoever goes on with it does not want to begin again.
            words = [word for word in asked.words if word != "--again"]
            session = Session(["normexp", *words], str(Path.cwd()), threads, process.identity(), True, named=True)
            self = cls(runs, asked.config_dir, code, console, session, cfg, loader, jobs)
            try:
                yield self
            finally:
                if self.path is not None:
                    try:
                        close_session(self.path)
                    finally:
                        launch.end_workers()
                if self.signal:
                    launch.mark_stopped(self.folder)

    def judged(self, claim: Claim, asked: Asked) -> dict[str, Any] | str:
        """The verdict, from runs that are trained as far as they are not there; a sentence where some have no result."""
        wanted = {each.name: each for each in planned(claim).values()}
        if asked.again:
            for name in wanted.keys() - self.replaced:
                if ended(self.folder / name):
                    set_aside(self.folder / name)
            self.replaced |= wanted.keys()
        left = [each for each in wanted.values() if not ended(self.folder / each.name)]
        if left:
            self._train(left)
        if self.signal is not None:
            return "interrupted"
        results = Results(claim, self.folder)
        if results.lacking:
            count, log = len(results.lacking), self.folder / results.lacking[0] / "train.log"
            return (
                f"no verdict: {count} of {len(wanted)} runs have no result; {log} says why. The same command goes on."
            )
        unknown = results.unknown()
        if unknown is not None:
            raise ConfigError(f"{claim.name}: {unknown}")
        return files.verdict(
            claim,
            judge(claim, results),
            series=series(claim, results),
            worked=None,
            code=self.code,
            runs=len(wanted),
            seconds=sum(run.status["seconds"] for run in {run.name: run for run in results.runs.values()}.values()),
            folder=self.folder,
            command=command(claim, asked),
        )

    def _train(self, left: Sequence[Planned]) -> None:
        with self.console.status(f"checking {len(left)} runs"):
            composer = Composer(self.cfg, self.loader)
            grid = [composer.compose(e.name, [*e.overrides, f"name={quoted(e.name)}"]) for e in left]
            grid = with_data(grid, self.folder)
        for each in grid:
            if each.problem:
                raise ConfigError(f"the run {each.name} can't be trained: {each.problem}")
        if self.path is None:
            words = self.session.command[1:]
            make = lambda: write_manifest(self.folder, name=self.folder.name, arguments=words, session=self.session)  # noqa: E731
            with atomic.writing(self.folder.parent):
                self.folder.parent.mkdir(parents=True, exist_ok=True)
            rundir.make(self.folder, make)
            self.path = open_session(self.folder, self.session)
            take_part(self.cfg, self.path)
        plan = Plan(self.folder, self.cfg, self.loader, [], grid, 0, self.jobs, True)
        self.signal = train_runs(plan, self.path, self.console)


def command(claim: Claim, asked: Asked) -> str:
    """What runs a claim again."""
    words = ["normexp", "claims", "run", claim.name]
    words += ["--quick"] * claim.quick + ["--scale", "full"] * (claim.scale == "full")
    words += ["--config-dir", str(asked.config_dir)] if asked.config_dir else []
    return shlex.join(words)


def computed(claim: Claim, code: str, asked: Asked) -> dict[str, Any]:
    """The verdict of an exact claim."""
    worked, seconds = compute(claim)

    def measured(measure: Measure, arm: str, place: Mapping[str, Value], seed: int) -> float:
        numbers = worked[seed].numbers
        if measure.tag not in numbers:
            raise ConfigError(
                f"measure={measure.tag}: {claim.name} has {listed(numbers)}.{nearest(measure.tag, numbers)}"
            )
        return float(numbers[measure.tag])

    return files.verdict(
        claim,
        judge(claim, measured),
        series=[],
        worked=worked[claim.seeds[0]],
        code=code,
        runs=0,
        seconds=seconds,
        folder=None,
        command=command(claim, asked),
    )


def compute(claim: Claim) -> tuple[dict[int, Worked], float]:
    """What an exact claim computes for each of its seeds, and the seconds that it took."""
    from normexp.claims.exact import EXACT

    if claim.name not in EXACT:
        raise ConfigError(
            f"{claim.name}: an exact claim is computed by code of its own, and there is none of that name."
        )
    start = time.monotonic()
    return {seed: EXACT[claim.name].compute(seed) for seed in claim.seeds}, time.monotonic() - start


def check_overrides(claim: Claim, config_dir: Path | None) -> None:
    """Each override of a claim's sweep must be one that `normexp train` takes."""
    if claim.sweep is None:
        return
    groups = [("base", claim.sweep.base)]
    groups += [(f"arms.{arm}", overrides) for arm, overrides in claim.sweep.arms.items()]
    for axis, values in claim.sweep.axes.items():
        groups += [(f"axes.{axis}", overrides) for overrides in values.values()]
    for where, overrides in groups:
        for override in dict.fromkeys(overrides):
            try:
                check(Arguments([], [override], config_dir))
                if override.partition("=")[0] in ("seed", "name", "runs_dir", "experiment", "debug"):
                    raise ConfigError(f"{override}: a claim's runs don't take that; seeds says which seeds they have.")
            except ConfigError as error:
                raise ConfigError(f"claim {claim.name}, sweep.{where}: {error}") from error


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
