"""Plan a sweep: its folder, its runs and how many run at a time, all checked before anything is written or trained."""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast, get_args

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from joblib import cpu_count
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from normexp import rundir
from normexp.compose.choices import choices_with
from normexp.compose.compose import Combination, Composer, compose_sweep, is_choice_key, quoted
from normexp.compose.errors import composing_errors, config_errors, explain, reason
from normexp.compose.loader import Loader
from normexp.compose.overrides import parse_overrides, validate_overrides
from normexp.compose.validate import check_tracker
from normexp.config import GROUPS, ConfigError, DataConfig, Objective, expand_path, show, unknown_choice
from normexp.data import DATA
from normexp.probes import check_installed
from normexp.sweeps import gpus
from normexp.sweeps.names import SHARED_KEYS, key_of, labels, run_name, sweep_name
from normexp.sweeps.outcome import is_finished

LOCAL_LAUNCHERS = ("hydra_plugins.hydra_joblib_launcher.", "hydra._internal.core_plugins.basic_launcher.")
"""Launchers whose runs are processes of this machine, started by the driver."""

MIN_FOR_STATUS = 20
"""From this many combinations on, checking them takes seconds, so a status line is shown."""

MAX_COMBINATIONS = 10_000
"""Checking as many takes a quarter of an hour."""


@dataclass
class Plan:
    """A sweep before it starts.

    grid: its combinations; None if an optimizer chooses them. trials: how many an optimizer is to make. jobs: runs at a time.
    local: whether the runs are processes of this machine. ignored: keys that some choices lack, with these choices.
    """

    folder: Path
    cfg: DictConfig
    loader: Loader
    overrides: list[str]
    grid: list[Combination] | None
    trials: int
    jobs: int
    local: bool
    ignored: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Labels of the grid's runs, by name."""
        return labels({run.name: run.overrides for run in self.grid or []})


@config_errors()  # reading a key resolves its interpolations
def plan_sweep(overrides: list[str], config_dir: Path | None, console: Console, *, load_data: bool = True) -> Plan:
    """The plan of the sweep that the overrides ask for. Raises ConfigError if none of its runs can be trained.

    load_data: check that the data can be loaded, which may download it.
    """
    cfg, loader = compose_sweep(overrides, config_dir)
    # The sweep's own config is composed without the keys of choices, such as norm.groups=2.
    typed = [*cfg.hydra.overrides.task, *(override for override in overrides if is_choice_key(override))]
    overrides = _with_params(cfg, typed, config_dir)
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides)
    for override in parsed:
        if override.is_sweep_override() and override.key_or_group in SHARED_KEYS:
            raise ConfigError(f"All runs of a sweep share {override.key_or_group}: give it one value.")
    experiment = next((str(o.value()) for o in parsed if o.key_or_group == "experiment"), None)
    if cfg.objective not in get_args(Objective):
        raise ConfigError(unknown_choice("objective", show(cfg.objective), get_args(Objective)))
    runs_dir = expand_path("runs_dir", str(cfg.runs_dir))
    name = str(cfg.name if cfg.name is not None else _default_name(typed, experiment, runs_dir))
    rundir.check_name(name)
    folder = (runs_dir / name).absolute()
    _check_shared(cfg)
    check_tracker(cfg.tracker)
    if (folder / "status.json").exists():
        raise ConfigError(f"name={show(name)}: {folder} is a run; choose another name for the sweep.")
    local = cfg.hydra.launcher._target_.startswith(LOCAL_LAUNCHERS)
    jobs = count_jobs(cfg) if "n_jobs" in cfg.hydra.launcher or not local else 1
    set_sweep_dir(cfg, folder, jobs)
    grid: list[Combination] | None = None
    ignored: dict[str, list[str]] = {}
    if not cfg.hydra.sweeper._target_.endswith(".BasicSweeper"):
        if not (any(override.is_sweep_override() for override in parsed) or cfg.hydra.sweeper.get("search_space")):
            raise ConfigError(
                "An optimizer needs a search space: give some key several values or a range, such as "
                "norm=bn,ln or 'lr=tag(log,interval(0.001,1))'."
            )
        _check_keys_of_choices(Composer(cfg, loader), parsed)
        fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
        examples = [Composer(cfg, loader).compose("", fixed)]
    else:
        grid, ignored = _expand_grid(Composer(cfg, loader), parsed, console)
        if local and load_data:
            grid = check_data(grid, folder)
        for combination in grid:  # a typo, not a combination that can't work
            if combination.invalid_value:
                raise ConfigError(str(combination.problem))
        if all(combination.problem for combination in grid):
            raise ConfigError(str(grid[0].problem))
        examples = grid
    check_installed(run.config.probe for run in examples if run.config)
    trials = int(cfg.hydra.sweeper.get("n_trials", 0))
    return Plan(folder, cfg, loader, overrides, grid, trials, jobs, local, ignored)


def _default_name(typed: Sequence[str], experiment: str | None, runs_dir: Path) -> str:
    """The name of a sweep without `name`. If it has to be shortened, the swept keys come first, so it still shows them."""
    name = sweep_name(typed, experiment)
    if "~" not in name or (runs_dir / name).exists():  # earlier versions did not put them first
        return name
    swept = [text for text, override in zip(typed, parse_overrides(typed), strict=True) if override.is_sweep_override()]
    return sweep_name(typed, experiment, first=swept)


def _with_params(cfg: DictConfig, typed: list[str], config_dir: Path | None) -> list[str]:
    """The checked overrides of an experiment's file, except for keys that were typed too, and then those typed."""
    params = cfg.hydra.sweeper.get("params") or {}
    try:
        for key, value in params.items():
            if not isinstance(value, str | int | float):
                raise ConfigError(f"write the values of {key} as one string: '{key}: a,b'.")
            if "hydra" in str(key):
                raise ConfigError(f"{show(key)} is not a key of a run.")
        validate_overrides([f"{key}={value}" for key, value in params.items()], config_dir, sweeps=True)
    except ConfigError as error:
        raise ConfigError(f"hydra.sweeper.params of the experiment: {error}") from error
    typed_keys = {override.partition("=")[0] for override in typed}
    return [f"{key}={value}" for key, value in params.items() if key not in typed_keys] + typed


def _check_shared(cfg: DictConfig) -> None:
    """Raise ConfigError if the sweep's name or folder refers to other keys: these have the defaults' values here."""
    as_typed = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["name", "runs_dir"]))
    for key, value in cast(dict[str, Any], as_typed).items():
        if isinstance(value, str) and re.search(r"\$\{(?!oc\.env:)", value):
            raise ConfigError(f"{key}={show(value)}: all runs of a sweep share {key}; write it without ${{...}}.")


def set_sweep_dir(cfg: DictConfig, folder: Path, jobs: int) -> None:
    """Make the launcher put the sweep's runs into a folder, and run so many at a time."""
    if "${" in str(folder):
        raise ConfigError(f"{folder}: the path of a sweep must not contain ${{.")
    with open_dict(cfg):
        overrides = [f"hydra.sweep.dir={quoted(str(folder))}", "hydra.sweep.subdir=."]
        cfg.hydra.sweep.dir = str(folder)
        if "n_jobs" in cfg.hydra.launcher:
            cfg.hydra.launcher.n_jobs = jobs
            # By default joblib gives a worker several runs at once if the first ones are short.
            cfg.hydra.launcher.batch_size = "1"
            overrides += [f"hydra.launcher.n_jobs={jobs}", "hydra.launcher.batch_size='1'"]
        cfg.hydra.overrides.hydra += overrides  # the launcher composes the runs' configs anew, from these


def count_jobs(cfg: DictConfig) -> int:
    """Number of runs that train at a time: one per GPU if they train on GPUs, else one per core."""
    if cfg.jobs is not None:
        if not isinstance(cfg.jobs, int) or isinstance(cfg.jobs, bool) or cfg.jobs < 1:
            raise ConfigError(f"jobs={show(cfg.jobs)}: jobs must be an integer >= 1 or null.")
        return cfg.jobs
    count = 0 if cfg.device == "cpu" else len(gpus.visible_gpus())
    return count or (1 if cfg.device == "cuda" else cpu_count())


def _expand_grid(
    composer: Composer, parsed: list[Override], console: Console
) -> tuple[list[Combination], dict[str, list[str]]]:
    """All distinct combinations, in the order of Hydra's own sweeper, and the ignored keys of the plan.

    Raises ConfigError if the overrides are not a grid.
    """
    try:
        _check_counts(parsed)
        (jobs,) = BasicSweeper.split_arguments(parsed, None)
    except composing_errors() as error:
        if "does not support sweep type" in str(error):
            raise ConfigError(
                "interval(...) works with hydra/sweeper=optuna only; for a grid, list the values: lr=0.1,1."
            ) from error
        raise ConfigError(explain(error)) from error
    combinations: dict[str, Combination] = {}
    with console.status(f"checking {len(jobs)} combinations") if len(jobs) >= MIN_FOR_STATUS else nullcontext():
        jobs, ignored = _drop_missing_keys(composer, jobs)
        for job in jobs:
            name = run_name(job)
            if name not in combinations:
                combinations[name] = composer.compose(name, job)
    return list(combinations.values()), ignored


def _check_keys_of_choices(composer: Composer, parsed: Sequence[Override]) -> None:
    """Raise ConfigError for a key that a choice of its group lacks: an optimizer sets all keys in every run."""
    fixed = [str(o.input_line) for o in parsed if not (o.is_sweep_override() or is_choice_key(o.key_or_group))]
    swept = {
        o.key_or_group: list(o.sweep_iterator()) for o in parsed if o.key_or_group in GROUPS and o.is_discrete_sweep()
    }
    for key in (o.key_or_group for o in parsed if is_choice_key(o.key_or_group)):
        group = key.partition(".")[0]
        for chosen in [[f"{group}={choice}"] for choice in swept.get(group, [])] or [[]]:
            for choice in composer.missing_keys([*fixed, *chosen, f"{key}=0"]).values():
                raise ConfigError(
                    f"{key} is a key of {choices_with(key)} only, but an optimizer would also set it for {choice}: "
                    "search the keys of each choice on their own."
                )


def _drop_missing_keys(composer: Composer, jobs: list[list[str]]) -> tuple[list[list[str]], dict[str, list[str]]]:
    """The jobs without the keys that their choices lack and other jobs have, and these keys with the choices that lack them.

    A key that no job has is kept: it is a mistake, which composing explains.
    """
    missing: list[tuple[list[str], dict[str, str]]] = [(job, {}) for job in jobs]
    for job, own in missing:
        with suppress(ConfigError):  # composing reports it
            own.update(composer.missing_keys(job))
    present = {key_of(text) for job, own in missing for text in job if text not in own}
    ignored: dict[str, list[str]] = {}
    for _, own in missing:
        for text, choice in own.items():
            if key_of(text) in present and choice not in ignored.setdefault(key_of(text), []):
                ignored[key_of(text)].append(choice)
    kept = [[text for text in job if text not in own or key_of(text) not in ignored] for job, own in missing]
    return kept, ignored


def _check_counts(parsed: Sequence[Override]) -> None:
    total = 1
    for override in parsed:
        if override.is_discrete_sweep():
            text = show(override.input_line)
            try:
                count = sum(1 for _ in islice(override.sweep_iterator(), MAX_COMBINATIONS + 1))
            except (ValueError, ArithmeticError) as error:  # such as a step of 0 in range()
                raise ConfigError(f"{text}: {reason(error)}.") from error
            if count == 0:
                raise ConfigError(f"{text}: at least one value is needed.")
            total *= count
    if total > MAX_COMBINATIONS:
        raise ConfigError(f"The sweep has more than {MAX_COMBINATIONS:,} combinations: use fewer values.")


def check_data(grid: Sequence[Combination], folder: Path) -> list[Combination]:
    """The same combinations; those that still have to train but whose data can't be loaded get a problem.

    Loading each data set once here downloads it before several processes would, and reports a damaged file only once.
    """

    @cache
    def problem(data: DataConfig, data_dir: str) -> str | None:
        try:
            DATA[data.name].load(data, Path(data_dir).expanduser())
        except ConfigError as error:
            return str(error)
        return None

    todo = [run.config if not is_finished(folder / run.name) else None for run in grid]
    return [replace(run, problem=problem(c.data, c.data_dir)) if c else run for run, c in zip(grid, todo, strict=True)]
