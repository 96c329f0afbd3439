"""Run claims: train what they need as one shared sweep, judge them, and write their verdicts."""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from normexp import rundir
from normexp.claims.fingerprint import code_fingerprint, is_fresh, judging_fingerprint
from normexp.claims.judge import Judgement, judge
from normexp.claims.load import read_claim
from normexp.claims.measure import PlannedRun, Results, plan_runs
from normexp.claims.schema import Claim, Measure, Point, Scale
from normexp.claims.series import build_series
from normexp.claims.verdict import Lines, Series, Verdict, path_of, read, write
from normexp.claims.wording import explain
from normexp.compose.compose import compose_sweep, quoted
from normexp.compose.composer import Composer
from normexp.compose.overrides import validate_overrides
from normexp.config import ConfigError, join_names, suggest
from normexp.console import print_line
from normexp.rundir import atomic, process
from normexp.sweeps import launch
from normexp.sweeps.grid import check_data
from normexp.sweeps.manifest import Session, close_session, open_session, write_manifest
from normexp.sweeps.outcome import is_finished, set_aside
from normexp.sweeps.plan import Plan, count_jobs, set_sweep_dir
from normexp.sweeps.run_sweep import pass_session, train_runs

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from normexp.claims.exact.base import ExactResult


@dataclass(frozen=True)
class Request:
    """A `claims run` command. again: also run what is judged already. overrides: where and how to run, not what.
    words: the command line after `normexp`."""

    names: list[str]
    scale: Scale
    quick: bool
    again: bool
    overrides: list[str]
    config_dir: Path | None
    words: list[str]


@dataclass
class Result:
    """What a command achieved. problems: a sentence per claim that failed. signal: that interrupted it."""

    verdicts: list[Verdict] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    signal: int | None = None


def run(request: Request, folder: Path, console: Console) -> Result:
    """Judge each claim whose verdict is missing or stale. folder: of all claims.

    Raises ConfigError, with nothing written, if a claim's file or one of its runs is invalid.
    """
    claims = [read_claim(n, request.config_dir, scale=request.scale, quick=request.quick) for n in request.names]
    for claim in claims:
        check_overrides(claim, request.config_dir)
    code, result = code_fingerprint(request.config_dir), Result()
    with SharedSweep.open(request, folder, code, console) as sweep:
        for i, claim in enumerate(claims, start=1):
            path = path_of(folder, claim.name, scale=claim.scale, quick=claim.quick)
            known = read(path)
            if known is not None and is_fresh(known, claim, code) and not request.again:
                result.verdicts.append(known)
                print_line(console, f"{claim.name}: judged before, {known.outcome}; --again does it once more")
                continue
            head = f"{claim.name} ({i} of {len(claims)}): " if len(claims) > 1 else ""
            print_line(console, f"{head}{claim.statement}")
            try:
                verdict = judge_exact(claim, code, request.config_dir) if claim.kind == "exact" else sweep.judge(claim)
            except ConfigError as error:
                if len(claims) == 1:
                    raise
                result.problems.append(f"{claim.name}: {error}")
                continue
            finally:
                result.signal = sweep.signal
            if result.signal is not None:
                break
            if isinstance(verdict, str):
                result.problems.append(f"{claim.name}: {verdict}")
                continue
            with atomic.writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write(path, verdict)
            result.verdicts.append(read(path) or verdict)
            print_line(console, f"{claim.name}: {verdict.outcome}. {verdict.because}")
    for problem in result.problems:
        print_line(console, problem)
    return result


@dataclass
class SharedSweep:
    """The sweep that all claims of a command share. Its folder and session are created when the first run is trained."""

    request: Request
    folder: Path
    code: str
    console: Console
    session: Session
    cfg: DictConfig
    loader: Any
    jobs: int
    path: Path | None = None
    signal: int | None = None
    replaced: set[str] = field(default_factory=set)
    """Runs that --again has set aside: once each, even if several claims share them."""

    @classmethod
    @contextmanager
    def open(cls, request: Request, folder: Path, code: str, console: Console) -> Iterator[SharedSweep]:
        cfg, loader = compose_sweep(request.overrides, request.config_dir)
        runs, jobs = folder / f"runs-{code}", count_jobs(cfg)
        set_sweep_dir(cfg, runs.absolute(), jobs)
        threads = 1 if jobs > 1 else None
        # resuming must not start over
        words = [word for word in request.words if word != "--again"]
        session = Session(["normexp", *words], str(Path.cwd()), threads, process.identity(), True, named=True)
        self = cls(request, runs, code, console, session, cfg, loader, jobs)
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

    def judge(self, claim: Claim) -> Verdict | str:
        """Train the runs that are missing and judge the claim. Returns a sentence if some runs have no result."""
        wanted = {planned.name: planned for planned in plan_runs(claim).values()}
        if self.request.again:
            for name in wanted.keys() - self.replaced:
                if is_finished(self.folder / name):
                    set_aside(self.folder / name)
            self.replaced |= wanted.keys()
        if missing := [planned for planned in wanted.values() if not is_finished(self.folder / planned.name)]:
            self._train(missing)
        if self.signal is not None:
            return "interrupted"
        results = Results(claim, self.folder)
        if results.missing:
            count, log = len(results.missing), self.folder / results.missing[0] / "train.log"
            return (
                f"no verdict: {count} of {len(wanted)} runs have no result; {log} says why. The same command goes on."
            )
        unknown = results.unknown_tag()
        if unknown is not None:
            raise ConfigError(f"{claim.name}: {unknown}")
        return build_verdict(
            claim,
            judge(claim, results),
            series=build_series(claim, results),
            code=self.code,
            runs=len(wanted),
            seconds=sum(run.status["seconds"] for run in {run.name: run for run in results.runs.values()}.values()),
            folder=self.folder,
            command=rerun_command(claim, self.request.config_dir),
        )

    def _train(self, missing: Sequence[PlannedRun]) -> None:
        with self.console.status(f"checking {len(missing)} runs"):
            composer = Composer(self.cfg, self.loader)
            grid = [composer.compose(r.name, [*r.overrides, f"name={quoted(r.name)}"]) for r in missing]
            grid = check_data(grid, self.folder)
        for planned in grid:
            if planned.problem:
                raise ConfigError(f"the run {planned.name} can't be trained: {planned.problem}")
        if self.path is None:
            words = self.session.command[1:]
            make = lambda: write_manifest(self.folder, name=self.folder.name, arguments=words, session=self.session)  # noqa: E731
            with atomic.writing(self.folder.parent):
                self.folder.parent.mkdir(parents=True, exist_ok=True)
            rundir.create_sweep_directory(self.folder, make)
            self.path = open_session(self.folder, self.session)
            pass_session(self.cfg, self.path)
        plan = Plan(self.folder, self.cfg, self.loader, [], grid, 0, self.jobs, True)
        self.signal = train_runs(plan, self.path, self.console)


def rerun_command(claim: Claim, config_dir: Path | None) -> str:
    """The command that runs a claim again."""
    words = ["normexp", "claims", "run", claim.name]
    words += ["--quick"] * claim.quick + ["--scale", "full"] * (claim.scale == "full")
    words += ["--config-dir", str(config_dir)] if config_dir else []
    return shlex.join(words)


def judge_exact(claim: Claim, code: str, config_dir: Path | None) -> Verdict:
    """Compute and judge an exact claim. code: fingerprint of the code."""
    from normexp.claims.exact import EXACT

    if claim.name not in EXACT:
        raise ConfigError(
            f"{claim.name}: an exact claim is computed by code of its own, and there is none of that name."
        )
    start = time.monotonic()
    results = {seed: EXACT[claim.name].compute(seed) for seed in claim.seeds}
    seconds = time.monotonic() - start

    def measured(measure: Measure, arm: str, point: Point, seed: int) -> float:
        numbers = results[seed].numbers
        if measure.tag not in numbers:
            raise ConfigError(
                f"measure={measure.tag}: {claim.name} has {join_names(numbers)}.{suggest(measure.tag, numbers)}"
            )
        return float(numbers[measure.tag])

    return build_verdict(
        claim,
        judge(claim, measured),
        result=results[claim.seeds[0]],
        code=code,
        seconds=seconds,
        command=rerun_command(claim, config_dir),
    )


def build_verdict(
    claim: Claim,
    judgement: Judgement,
    *,
    series: Sequence[Series] = (),
    result: ExactResult | None = None,
    code: str,
    runs: int = 0,
    seconds: float,
    folder: Path | None = None,
    command: str,
) -> Verdict:
    """Put a claim and its judgement together. result: of an exact claim. seconds: of training or computing."""
    verdict = Verdict(
        claim=claim.name,
        kind=claim.kind,
        statement=claim.statement,
        source=claim.source,
        explanation=Lines(claim.explanation),
        scale=claim.scale,
        quick=claim.quick,
        outcome=judgement.outcome,
        combine=claim.combine,
        conditions=judgement.conditions,
        series=series,
        tables=result.tables if result else (),
        drawing=Lines(result.drawing) if result and result.drawing else None,
        seeds=claim.seeds,
        runs=runs,
        seconds=seconds,
        folder=None if folder is None else str(folder),
        command=command,
        judged_at=rundir.now(),
        versions={
            **{name: version(name) for name in ("normexp", "torch", "numpy", "scipy")},
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
        rule=claim.fingerprint,
        code=code,
        judging=judging_fingerprint(),
    )
    return replace(verdict, because=explain(verdict))


def check_overrides(claim: Claim, config_dir: Path | None) -> None:
    """Raise ConfigError unless each override of a claim's sweep is valid for `normexp train`."""
    if claim.sweep is None:
        return
    groups = [("base", claim.sweep.base)]
    groups += [(f"arms.{arm}", overrides) for arm, overrides in claim.sweep.arms.items()]
    for axis, values in claim.sweep.axes.items():
        groups += [(f"axes.{axis}", overrides) for overrides in values.values()]
    for where, overrides in groups:
        for override in dict.fromkeys(overrides):
            try:
                validate_overrides([override], config_dir)
                if override.partition("=")[0] in ("seed", "name", "runs_dir", "experiment", "debug"):
                    raise ConfigError(f"{override}: a claim's runs don't take that; seeds says which seeds they have.")
            except ConfigError as error:
                raise ConfigError(f"claim {claim.name}, sweep.{where}: {error}") from error
