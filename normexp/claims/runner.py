"""Run claims: train what they need as one shared sweep, judge them, and write their verdicts."""

import signal
from collections.abc import Sequence, Set
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.console import Console

from normexp import rundir
from normexp.claims import evaluations
from normexp.claims.build import build_verdict, judge_exact
from normexp.claims.checks import check_steps
from normexp.claims.fingerprint import code_fingerprint, is_complete, is_fresh
from normexp.claims.grade import is_exploratory, record_seeds
from normexp.claims.headline import reworded
from normexp.claims.judge import Judgement, judge
from normexp.claims.load import claim_names, read_claim
from normexp.claims.measure import PlannedRun, Results, has_checksums, plan_run
from normexp.claims.other_data import on_data
from normexp.claims.requirements import requirements
from normexp.claims.schema import LOOKS, Claim, Scale
from normexp.claims.series import build_series
from normexp.claims.setup import describe_setup
from normexp.claims.verdict import Verdict, path_of, read, write
from normexp.claims.wording import plural
from normexp.compose.compose import Combination, Composer, compose_sweep, quoted
from normexp.compose.validate import validate
from normexp.config import ConfigError, join_names
from normexp.console import print_line
from normexp.probes import check_installed
from normexp.rundir import atomic, process
from normexp.sweeps import launch
from normexp.sweeps.gpus import visible_gpus
from normexp.sweeps.manifest import Session
from normexp.sweeps.outcome import is_finished, run_state, set_aside
from normexp.sweeps.plan import Plan, check_data, count_jobs, set_sweep_dir
from normexp.sweeps.run_sweep import close_session, open_session, train_runs


@dataclass(frozen=True)
class Request:
    """A `claims run` command.

    again: also run claims that are already judged. max_seeds: the most seeds that any cell gets; None: all of the file.
    overrides: where and how to run (data_dir, device, ...), for every run. data_overrides: data.verify, for runs that have it.
    words: the command line after `normexp`. data: replaces the claims' own, as from other_data.find_data; empty to keep it.
    """

    names: list[str]
    scale: Scale
    quick: bool
    again: bool
    max_seeds: int | None
    overrides: list[str]
    data_overrides: list[str]
    config_dir: Path | None
    words: list[str]
    data: str = ""

    def read(self, name: str, *, strict: bool = False) -> Claim:
        """A claim at the scale and on the data asked for. Raises ConfigError if there is none, or if it can't be run so."""
        claim = read_claim(name, self.config_dir, scale=self.scale, quick=self.quick, strict=strict)
        return on_data(claim, self.data) if self.data else claim


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
    claims = [request.read(name, strict=True) for name in request.names]
    _check_max_seeds(request, claims)
    verdicts, problems = list[Verdict](), list[str]()
    with closing(SharedSweep(request, folder, code_fingerprint(request.config_dir), console)) as sweep:
        for i, claim in enumerate(claims, start=1):
            path = path_of(folder, claim.name, scale=claim.scale, quick=claim.quick)
            known, code = read(path), code_fingerprint(request.config_dir, claim)
            if (
                known is not None
                and is_fresh(known, claim, code)
                and not request.again
                and is_complete(known, claim, request.max_seeds)
            ):
                verdicts.append(reworded(known, claim))
                print_line(console, f"{claim.name}: already judged, {known.outcome}; --again repeats it")
                continue
            head = f"{claim.name} ({i} of {len(claims)}): " if len(claims) > 1 else ""
            print_line(console, f"{head}{claim.statement}")
            try:
                verdict = judge_exact(claim, code, request.config_dir) if claim.kind == "exact" else sweep.judge(claim)
            except ConfigError as error:
                if len(claims) == 1:
                    raise ConfigError(f"{claim.name}: {error}") from error
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


def check_runs(claim: Claim, composer: Composer) -> None:
    """Raise ConfigError if one of a claim's first runs, or its evaluation, is impossible. Reads and downloads no data."""
    for planned in {key[:2]: plan_run(claim, key) for key in judge(claim, lambda *_: None).wanted}.values():
        combination = composer.compose(planned.name, planned.overrides)
        try:
            if combination.config is None:
                raise ConfigError(combination.problem)
            evaluations.options(planned.evaluation, combination.config)
        except ConfigError as error:
            raise ConfigError(f"{claim.name} can't be run: {error}") from error


def _check_max_seeds(request: Request, claims: Sequence[Claim]) -> None:
    """Raise ConfigError if the limit is higher than the number of seeds that any of the claims can use."""
    experiments = [claim for claim in claims if claim.sweep]
    most = max((min(len(claim.seeds), LOOKS[-1]) for claim in experiments), default=0)
    if experiments and (request.max_seeds or 0) > max(most, LOOKS[0]):
        whose = experiments[0].name if len(experiments) == 1 else "each of these claims"
        raise ConfigError(f"--max-seeds {request.max_seeds}: {whose} can use {most} seeds at most.")


class SharedSweep:
    """The sweep that all claims of a command share. Its folder and session are created with the first run."""

    def __init__(self, request: Request, folder: Path, code: str, console: Console) -> None:
        self.request, self.code, self.console = request, code, console
        self.cfg, self.loader = compose_sweep(request.overrides, request.config_dir)
        if self.cfg.device == "cuda" and not visible_gpus():  # torch decides, and every run would fail
            from normexp.training.build import choose_device

            choose_device(self.cfg.device)
        self.folder, self.jobs = folder / f"runs-{code}", count_jobs(self.cfg)
        set_sweep_dir(self.cfg, self.folder.absolute(), self.jobs)
        threads = 1 if self.jobs > 1 else None
        words = ["normexp", *(word for word in request.words if word != "--again")]  # resuming must not start over
        self.session = Session(words, str(Path.cwd()), threads, process.identity(), True, named=True)
        self.path: Path | None = None
        self.signal: int | None = None
        self.trained: set[str] = set()
        """Runs trained by this command. With --again, only these count."""
        self.impossible: set[str] = set()
        """Runs at an axis value beyond those of the file that no network can have, such as a dropout of 1.3."""

    def close(self) -> None:
        if self.path is not None:
            close_session(self.path)
        if self.signal:
            launch.mark_stopped(self.folder)

    def judge(self, claim: Claim) -> Verdict | str:
        """Train the runs that are missing, look by look, and judge the claim. Returns a sentence if some runs have no result."""
        tried: set[str] = set()
        while True:
            results = Results(claim, self.folder, self.trained if self.request.again else None, self.impossible)
            judgement = judge(claim, results, max_seeds=self.request.max_seeds)
            if not judgement.wanted:
                break
            plans = {key: plan_run(claim, key) for key in judgement.wanted}
            wanted = {planned.name: planned for key, planned in plans.items() if results.runs.get(key) is None}
            if failed := [name for name in wanted if name in tried]:
                lost, log = f"{len(failed)} of {len(wanted)} runs have no result", self.folder / failed[0] / "train.log"
                return f"no verdict: {lost}; see {log}. Repeat the command to resume."
            grid = self._plan(list(wanted.values()))
            configs = {planned.name: planned.config for planned in grid if planned.config}
            check_steps(claim, list(configs.values()))
            for planned in plans.values():
                if planned.evaluation and planned.name in configs:
                    evaluations.options(planned.evaluation, configs[planned.name])
            for name in wanted if self.request.again else ():
                if is_finished(self.folder / name):
                    set_aside(self.folder / name)
            self._record(claim, judgement)
            reason = progress(judgement, claim, again=bool(tried))
            if grid:
                print_line(self.console, f"{claim.name}: {reason}; training {plural(len(grid), 'run')}")
                self._train(grid)
            tried |= wanted.keys()
            self.trained |= wanted.keys()
            try:
                if self.signal is None:
                    self._evaluate({planned for planned in plans.values() if planned.evaluation})
            except KeyboardInterrupt:
                self.signal = signal.SIGINT
            if self.signal is not None:
                return "interrupted"
        if (unlogged := results.unlogged()) is not None:
            raise ConfigError(unlogged)
        self._record(claim, judgement)
        used = {run.name: run for run in results.runs.values() if run}
        unverified = any(run.config.get("data.verify") is False for run in used.values())
        return build_verdict(
            claim,
            judgement,
            code=self.code,
            seconds=sum(run.status["seconds"] for run in used.values()),
            config_dir=self.request.config_dir,
            unverified=unverified,
            exploratory=is_exploratory(claim, _seen(claim, judgement), self.folder.parent),
            max_seeds=max(n for n in claim.looks if n <= max(self.request.max_seeds or n, claim.looks[0])),
            requires=requirements(claim, results),
            series=build_series(claim, results, [key for key, run in results.runs.items() if run]),
            setup=describe_setup(claim, results.runs),
            runs=len(used),
            folder=str(self.folder),
        )

    def _record(self, claim: Claim, judgement: Judgement) -> None:
        with atomic.writing(self.folder.parent):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            record_seeds(claim, _seen(claim, judgement), self.folder.parent, self._existing)

    @cached_property
    def _existing(self) -> list[Claim]:
        """All claims whose files can be read, also on the data asked for."""
        claims, request = list[Claim](), self.request
        for name in claim_names(request.config_dir):
            with suppress(ConfigError):
                claims.append(read_claim(name, request.config_dir, scale=request.scale, quick=request.quick))
                claims += [request.read(name)] if request.data else []
        return claims

    def _plan(self, missing: Sequence[PlannedRun]) -> list[Combination]:
        """The runs as Hydra composes them, without those that are impossible. Raises ConfigError for invalid ones of the file."""
        with self.console.status(f"checking {len(missing)} runs"):
            composer = Composer(self.cfg, self.loader)
            grid = [composer.compose(run.name, [*run.overrides, *self._own_overrides(run)]) for run in missing]
            added = {run.name for run in missing if run.added}
            self.impossible |= {planned.name for planned in grid if planned.config is None} & added
            grid = check_data([planned for planned in grid if planned.name not in self.impossible], self.folder)
        for planned in grid:
            if planned.problem:
                raise ConfigError(f"run {planned.name} can't be trained: {planned.problem}")
        check_installed(planned.config.probe for planned in grid if planned.config)
        return grid

    def _evaluate(self, plans: Set[PlannedRun]) -> None:
        """Evaluate the runs that have completed, with the options of their plans."""
        done = [planned for planned in plans if run_state(self.folder / planned.name) == "completed"]
        with self.console.status(f"evaluating {plural(len(done), 'run')}"):
            for planned in sorted(done, key=lambda planned: (planned.name, planned.evaluation)):
                directory = self.folder / planned.name
                config = validate(rundir.read_config(directory))
                step = rundir.read_status(directory)["step"]
                if evaluations.stored(directory, planned.evaluation, config, step) is None:
                    evaluations.evaluate(directory, planned.evaluation, config)

    def _own_overrides(self, run: PlannedRun) -> list[str]:
        """The command's overrides of a run, and its name."""
        of_data = self.request.data_overrides if has_checksums(run) else []
        return [*self.request.overrides, *of_data, f"name={quoted(run.name)}"]

    def _train(self, grid: list[Combination]) -> None:
        if self.path is None:
            self.path = open_session(self.folder, self.cfg, self.session, self.session.command[1:])
        plan = Plan(self.folder, self.cfg, self.loader, [], grid, 0, self.jobs, True)
        self.signal = train_runs(plan, self.path, self.console)


def _seen(claim: Claim, judgement: Judgement) -> tuple[int, ...]:
    """The seeds that the judgement has used, also those that only chose values."""
    return (*claim.seeds[: judgement.seeds], *claim.choosing_seeds)


def progress(judgement: Judgement, claim: Claim, *, again: bool) -> str:
    """Why runs are trained: '2 of 4 cells undecided after 5 seeds'. again: after others of this claim in the same command."""
    if judgement.seeds <= claim.looks[0] and claim.sweep:
        wanted = {seed for *_, seed in judgement.wanted}
        choosing = wanted & {*claim.choosing_seeds}
        if again and choosing:
            both = "chosen values, and values beyond those tried where the best is at an end"
            return both if wanted - choosing else "a best value is the smallest or largest one tried"
        judged = plural(judgement.seeds, "seed") if wanted - choosing else ""
        to_choose = f"{plural(len(choosing), 'seed')} to choose values" if choosing else ""
        return f"{join_names(claim.sweep.arms)} with {' and '.join(filter(None, (judged, to_choose)))}"
    cells = [cell for condition in judgement.conditions if condition.decides for cell in condition.cells]
    looks = [cell.looks[-1].n for cell in cells if cell.outcome == "undecided" and cell.looks]
    last = max(looks, default=0)  # those that were stopped have fewer
    return f"{looks.count(last)} of {plural(len(cells), 'cell')} undecided after {last} seeds"
