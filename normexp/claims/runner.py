"""Run claims: train what they need as one shared sweep, judge them, and write their verdicts."""

import platform
import shlex
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from normexp import rundir
from normexp.claims.fingerprint import code_fingerprint, is_fresh, judging_fingerprint
from normexp.claims.headline import explain, reworded
from normexp.claims.judge import Judgement, judge
from normexp.claims.load import read_claim
from normexp.claims.measure import PlannedRun, Results, plan_runs
from normexp.claims.schema import Claim, Measure, Point, Scale
from normexp.claims.series import build_series
from normexp.claims.verdict import Lines, Verdict, path_of, read, write
from normexp.compose.compose import Composer, compose_sweep, quoted
from normexp.compose.overrides import validate_overrides
from normexp.config import ConfigError, join_names, suggest
from normexp.console import print_line
from normexp.rundir import atomic, process
from normexp.sweeps import launch
from normexp.sweeps.manifest import Session
from normexp.sweeps.outcome import is_finished, set_aside
from normexp.sweeps.plan import Plan, check_data, count_jobs, set_sweep_dir
from normexp.sweeps.run_sweep import close_session, open_session, train_runs


@dataclass(frozen=True)
class Request:
    """A `claims run` command.

    again: also run claims that are already judged. overrides: where and how to run (data_dir, device, ...), for every run.
    words: the command line after `normexp`.
    """

    names: list[str]
    scale: Scale
    quick: bool
    again: bool
    overrides: list[str]
    config_dir: Path | None
    words: list[str]


@dataclass(frozen=True)
class Result:
    """Result of a command. problems: a sentence per claim that failed. signal: the one that interrupted it, if any."""

    verdicts: list[Verdict]
    problems: list[str]
    signal: int | None


def run(request: Request, folder: Path, console: Console) -> Result:
    """Judge each claim whose verdict is missing or stale. folder: of all claims.

    Raises ConfigError, with nothing written, if a claim's file or one of its runs is invalid.
    """
    claims = [read_claim(n, request.config_dir, scale=request.scale, quick=request.quick) for n in request.names]
    for claim in claims:
        check_overrides(claim, request.config_dir)
    code, verdicts, problems = code_fingerprint(request.config_dir), list[Verdict](), list[str]()
    with closing(SharedSweep(request, folder, code, console)) as sweep:
        for i, claim in enumerate(claims, start=1):
            path = path_of(folder, claim.name, scale=claim.scale, quick=claim.quick)
            known = read(path)
            if known is not None and is_fresh(known, claim, code) and not request.again:
                verdicts.append(reworded(known, claim))
                print_line(console, f"{claim.name}: already judged, {known.outcome}; --again repeats it")
                continue
            head = f"{claim.name} ({i} of {len(claims)}): " if len(claims) > 1 else ""
            print_line(console, f"{head}{claim.statement}")
            try:
                verdict = judge_exact(claim, code, request.config_dir) if claim.kind == "exact" else sweep.judge(claim)
            except ConfigError as error:
                if len(claims) == 1:
                    raise
                problems.append(f"{claim.name}: {error}")
                continue
            if sweep.signal is not None:
                break
            if isinstance(verdict, str):
                problems.append(f"{claim.name}: {verdict}")
                continue
            with atomic.writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write(path, verdict)
            verdicts.append(read(path) or verdict)
            print_line(console, f"{claim.name}: {verdict.outcome}. {verdict.because}")
    for problem in problems:
        print_line(console, problem)
    return Result(verdicts, problems, sweep.signal)


class SharedSweep:
    """The sweep that all claims of a command share. Its folder and session are created with the first run."""

    def __init__(self, request: Request, folder: Path, code: str, console: Console) -> None:
        self.request, self.code, self.console = request, code, console
        self.cfg, self.loader = compose_sweep(request.overrides, request.config_dir)
        self.folder, self.jobs = folder / f"runs-{code}", count_jobs(self.cfg)
        set_sweep_dir(self.cfg, self.folder.absolute(), self.jobs)
        threads = 1 if self.jobs > 1 else None
        words = ["normexp", *(word for word in request.words if word != "--again")]  # resuming must not start over
        self.session = Session(words, str(Path.cwd()), threads, process.identity(), True, named=True)
        self.path: Path | None = None
        self.signal: int | None = None
        self.replaced: set[str] = set()
        """Runs that --again has set aside, once each even if several claims share them."""

    def close(self) -> None:
        if self.path is not None:
            close_session(self.path)
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
        by_name = {run.name: run for run in results.runs.values()}
        if failed := [name for name in wanted if name not in by_name]:
            lost, log = f"{len(failed)} of {len(wanted)} runs have no result", self.folder / failed[0] / "train.log"
            return f"no verdict: {lost}; see {log}. Repeat the command to resume."
        if (unknown := results.unknown_tag()) is not None:
            raise ConfigError(f"{claim.name}: {unknown}")
        return build_verdict(
            claim,
            judge(claim, results),
            code=self.code,
            seconds=sum(run.status["seconds"] for run in by_name.values()),
            config_dir=self.request.config_dir,
            series=build_series(claim, results),
            runs=len(wanted),
            folder=str(self.folder),
        )

    def _train(self, missing: Sequence[PlannedRun]) -> None:
        with self.console.status(f"checking {len(missing)} runs"):
            composer = Composer(self.cfg, self.loader)
            own = self.request.overrides
            grid = [composer.compose(r.name, [*r.overrides, *own, f"name={quoted(r.name)}"]) for r in missing]
            grid = check_data(grid, self.folder)
        for planned in grid:
            if planned.problem:
                raise ConfigError(f"run {planned.name} can't be trained: {planned.problem}")
        if self.path is None:
            with atomic.writing(self.folder.parent):
                self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.path = open_session(self.folder, self.cfg, self.session, self.session.command[1:])
        plan = Plan(self.folder, self.cfg, self.loader, [], grid, 0, self.jobs, True)
        self.signal = train_runs(plan, self.path, self.console)


def judge_exact(claim: Claim, code: str, config_dir: Path | None) -> Verdict:
    """Compute and judge an exact claim. code: fingerprint of the code."""
    from normexp.claims.exact import EXACT

    if claim.name not in EXACT:
        raise ConfigError(
            f"{claim.name}: exact claims are computed by normexp itself, which has no {claim.name}; use kind: experiment."
        )
    start = time.monotonic()
    results = {seed: EXACT[claim.name].compute(seed) for seed in claim.seeds}
    seconds = time.monotonic() - start

    def measured(measure: Measure, arm: str, point: Point, seed: int) -> float:
        numbers = results[seed].numbers
        if measure.tag not in numbers:
            raise ConfigError(
                f"measure={measure.tag}: {claim.name} computes {join_names(numbers)}.{suggest(measure.tag, numbers)}"
            )
        return float(numbers[measure.tag])

    first, judgement = results[claim.seeds[0]], judge(claim, measured)
    own = {"tables": first.tables, "drawing": Lines(first.drawing) if first.drawing else None}
    return build_verdict(claim, judgement, code=code, seconds=seconds, config_dir=config_dir, **own)


def build_verdict(
    claim: Claim, judgement: Judgement, *, code: str, seconds: float, config_dir: Path | None, **own: Any
) -> Verdict:
    """Combine a claim and its judgement. seconds: of training or computing. own: further fields of this kind of claim."""
    same = ("kind", "statement", "source", "scale", "quick", "combine", "seeds")
    packages = {name: version(name) for name in ("normexp", "torch", "numpy", "scipy")}
    flags = ["--quick"] * claim.quick + ["--scale", "full"] * (claim.scale == "full")
    flags += ["--config-dir", str(config_dir)] if config_dir else []
    verdict = Verdict(
        **{name: getattr(claim, name) for name in same},
        **own,
        claim=claim.name,
        explanation=Lines(claim.explanation),
        outcome=judgement.outcome,
        conditions=judgement.conditions,
        seconds=seconds,
        command=shlex.join(["normexp", "claims", "run", claim.name, *flags]),
        judged_at=rundir.now(),
        versions=packages | {"python": platform.python_version(), "machine": platform.machine()},
        rule=claim.fingerprint,
        code=code,
        judging=judging_fingerprint(),
    )
    return replace(verdict, because=explain(verdict))


def check_overrides(claim: Claim, config_dir: Path | None) -> None:
    """Raise ConfigError if an override of a claim's sweep is not valid for `normexp train`."""
    if claim.sweep is None:
        return
    groups = [("base", claim.sweep.base), *((f"arms.{arm}", overrides) for arm, overrides in claim.sweep.arms.items())]
    groups += [
        (f"axes.{axis}", overrides) for axis, values in claim.sweep.axes.items() for overrides in values.values()
    ]
    for where, overrides in groups:
        for override in dict.fromkeys(overrides):
            try:
                validate_overrides([override], config_dir)
                if override.partition("=")[0] in ("seed", "name", "runs_dir", "experiment", "debug"):
                    raise ConfigError(f"{override}: can't be set in a claim's runs; list their seeds under seeds.")
            except ConfigError as error:
                raise ConfigError(f"claim {claim.name}, sweep.{where}: {error}") from error
