"""Hypothesis strategies for command lines of `normexp train`, from plausible to absurd."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from normexp.compose.argv import FLAGS
from normexp.compose.choices import CHOICES
from normexp.config import GROUPS, yaml_files
from tests.compose.overrides import KEYS, SYNTAX, TEXT, fitting, quoted, unfitting

GROUP_NAMES = {group: list(classes) for group, classes in CHOICES.items()}


@dataclass(frozen=True)
class Line:
    """Arguments of `normexp train`. wrong: whether a value is certainly of a wrong type or out of bounds."""

    words: list[str]
    wrong: bool = False


@st.composite
def fitting_lines(draw: st.DrawFn, *, small: bool) -> Line:
    """One to four keys and groups with valid values. A key of a choice follows its choice."""
    words: dict[str, str] = {}
    for name in draw(st.lists(st.sampled_from([*GROUPS, *KEYS]), min_size=1, max_size=4, unique=True)):
        if name in GROUPS:
            words.setdefault(name, draw(st.sampled_from(GROUP_NAMES[name])))
            continue
        key, group = KEYS[name], name.split(".")[0]
        if key.choices and yaml_files.default_choice(group) not in key.choices:
            words.setdefault(group, draw(st.sampled_from(key.choices)))
        words[name] = draw(fitting(key, small=small))
    return Line([f"{name}={value}" for name, value in words.items()])


@st.composite
def wrong_lines(draw: st.DrawFn, lines: st.SearchStrategy[Line]) -> Line:
    """A valid line with one wrong value."""
    name = draw(st.sampled_from(sorted(KEYS)))
    others = [word for word in draw(lines).words if not word.startswith((f"{name}=", f"{name.split('.')[0]}="))]
    key = KEYS[name]
    choice = [f"{name.split('.')[0]}={draw(st.sampled_from(key.choices))}"] if key.choices else []
    sweep = draw(st.sampled_from([[], [], [], ["-m"]]))
    return Line([*sweep, *choice, *draw(st.permutations([*others, f"{name}={draw(unfitting(key))}"]))], wrong=True)


@st.composite
def sweep_lines(draw: st.DrawFn, lines: st.SearchStrategy[Line]) -> Line:
    """A line in which one or two keys have several values, with or without -m."""
    words = draw(lines).words
    for word in words[: draw(st.sampled_from([1, 1, 2]))]:
        name = word.partition("=")[0]
        more = st.sampled_from(GROUP_NAMES[name]) if name in GROUP_NAMES else fitting(KEYS[name], small=True)
        words = [f"{w},{draw(more)}" if w == word else w for w in words]
    return Line(draw(st.sampled_from([["-m", *words], [*words, "--multirun"], words])))


@st.composite
def hostile_lines(draw: st.DrawFn, lines: st.SearchStrategy[Line]) -> Line:
    """A valid line with one value from the corners of Hydra's grammar, sometimes with -m."""
    words = [*draw(lines).words[:2], f"{draw(st.sampled_from([*KEYS, *GROUPS, 'experiment']))}={draw(SYNTAX)}"]
    return Line([*draw(st.sampled_from([[], [], ["-m"]])), *draw(st.permutations(words))])


def _odd_overrides() -> st.SearchStrategy[str]:
    """Any key with any value, or a word that is not an override."""
    names = st.sampled_from([*KEYS, *GROUPS, "experiment"])
    hydras = ["hydra.run.dir", "hydra.mode", "hydra.verbose", "hydra.job.chdir", "hydra.launcher.n_jobs"]
    hydras += ["hydra.nothing", "hydra/launcher", "hydra/sweeper", "hydra.sweeper.params", "hydra.searchpath", "hydra"]
    hydras += ["hydra.job_logging", "hydra.sweeper._target_", "hydra/job_logging", "hydra.callbacks"]
    hydras += ["hydra.sweeper.max_batch_size", "hydra/output"]
    odd = ["", ".", "lr.", ".lr", "model..depth", "lr.x", "model.name", "_target_", "norm._target_", "LR", "lrr"]
    odd += ["norms", "norm@model", "norm@", "norm@:x", "model/cnn", "/norm", "norm/", "0", "[]", "${lr}", "a" * 10_000]
    odd += ["é", "a b", "norm.groups", "model.depht", "optim.lr", "defaults", "defaults.0", "_self_", "package"]
    odd += ["\x1b[31m", "\n", "null"]
    keys = st.one_of(names, names, st.sampled_from(hydras), st.sampled_from(odd), TEXT)
    signs = st.sampled_from(["", "", "", "", "", "+", "++", "~", "-", "--", "+++", "~~", " "])
    values = st.one_of(
        SYNTAX,
        SYNTAX,
        TEXT,
        TEXT.map(quoted),
        st.sampled_from([name for names in GROUP_NAMES.values() for name in names]),
    )
    full = st.tuples(signs, keys, st.just("="), values)
    return st.one_of(full, full, full, full, st.tuples(signs, keys)).map("".join)


def _flags() -> st.SearchStrategy[list[str]]:
    """Flags of Hydra's, valid or not, with or without a value. Those that print pages are left out, since they are slow."""
    known = st.sampled_from([flag for flag in FLAGS if flag not in PRINTING])
    values = st.sampled_from(["job", "hydra", "all", "config", "", "x", "nowhere", "-m", "=", "=job", "=x"])
    odd = st.sampled_from(
        ["-", "--", "---", "-x", "--multi", "--lr", "--norm=bn", "-mm", "-m=1", "--cfg=", "-lr=1", "--é"]
    )
    return st.one_of(st.tuples(known), st.tuples(known, values), st.tuples(known, values), st.tuples(odd)).map(list)


PRINTING = ("--hydra-help", "--info", "-i", "--help", "-h", "--version")


@st.composite
def odd_lines(draw: st.DrawFn, lines: st.SearchStrategy[Line]) -> Line:
    """Up to two valid words, one or two odd ones, and flags anywhere."""
    words = [*draw(lines).words[:2], *draw(st.lists(_odd_overrides(), min_size=1, max_size=2))]
    words += draw(st.sampled_from([[], [], [], ["-m"], words[:1]]))
    words = draw(st.permutations(words))
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(words)))
        words = [*words[:at], *draw(_flags()), *words[at:]]
    return Line(words)


def lines(*, small: bool) -> st.SearchStrategy[Line]:
    """Lines of all kinds. small: with integers for a network that trains in seconds."""
    fit = fitting_lines(small=small)
    wrong, hostile, odd = wrong_lines(fit), hostile_lines(fit), odd_lines(fit)
    # Seldom sweeps, whose every combination takes as long as a line; often what is refused at once.
    return st.one_of(fit, fit, wrong, wrong, hostile, hostile, sweep_lines(fit), odd, odd, odd, odd, odd)
