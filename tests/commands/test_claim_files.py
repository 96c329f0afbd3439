"""Files of claims: mistakes are answered with one sentence, and the runs of the shipped ones can be trained."""

import re
from pathlib import Path

import pytest

from normexp.claims import load
from normexp.claims.checks import check_overrides
from normexp.claims.measure import plan_run
from normexp.config import yaml_files
from tests.commands.own_claim import MINE, claims, write
from tests.conftest import ROOT, compose

REQUIRED = 'what: bn learns, measure: val/accuracy, compare: [bn], as: value, is: ">=", confirm: 0.7'


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind: experiment", "kind: experimnt", "Did you mean experiment?"),
        ("statement:", "statment:", "Unknown key statment. Did you mean statement?"),
        ("seeds: [1, 2]", "seeds: []", "seeds must be distinct integers >= 0"),
        ("seeds: [1, 2]", "seeds: [1, 1]", "seeds must be distinct integers >= 0"),
        ("[norm=ln]", "[norm=lm]", "sweep.arms.ln: norm=lm: norm is one of"),
        ("[norm=ln]", "norm=ln", "a list of overrides"),
        ("[norm=ln]", "[norm=in]", "after a linear layer"),
        (
            "optim.momentum=0.0",
            "optim.momntum=0.0",
            "sweep.base: Unknown key optim.momntum. Did you mean optim.momentum?",
        ),
        ("optim.momentum=0.0", "seed=1", "list their seeds under seeds"),
        ("optim.momentum=0.0", "'batch_size=1,2'", "several values"),
        ("compare: [bn, ln]", "compare: [bn, lm]", "unknown arm lm. Known: bn, ln."),
        ("compare: [bn, ln]", "compare: [bn]", "needs 2 different arms"),
        ("over: lr", "over: rl", "unknown axis rl"),
        ("as: difference", "as: diference", "Did you mean difference?"),
        ("refute: 0.0", "refute: high", "refute must be a number"),
        ("refute: 0.0", "refute: 0.02", "refute"),
        ("group: speed", "group: sped", "Did you mean speed?"),
        ("    refute: 0.0\n", "", "refute is missing"),
        ("refute: 0.0", "refute: 0.0\n    choose: test/accuracy", "choose is one of val/accuracy"),
        (
            "refute: 0.0",
            "refute: 0.0\n    take: decades",
            "working (the lowest measure at which a value works) and take",
        ),
        ("refute: 0.0", "refute: 0.0\n    contrast: {lr: [0.1, 0.1]}", "different axes"),
        ("axes: {lr: [0.1]}", "axes: {lrr: [0.1]}", "unknown axis lrr"),
        ("kind: experiment", "kind: [", "can't be read"),
        ("kind: experiment", "kind: exact", "has no sweep"),
        ("refute: 0.0", "refute: 0.0\n    contrast: {}", "contrast takes an axis"),
        ("compare: [bn, ln]", "compare: [[bn], ln]", "must be a number, string, boolean or null"),
        ("refute: 0.0", "refute: 0.0\n    with: 3", "with must be a mapping"),
        pytest.param(MINE, "5", "mine.yaml: must be a mapping", id="number"),
        ("[norm=ln]", "[norm=bn]", "two of these arms have the same overrides"),
        ("[norm=ln]", "[norm=ln, lr=3]", "lr is already set by the axis lr"),
        ("[0.0001, 0.1, 30.0]", "[0.1, 0.1]", "duplicate value"),
        ("measure: val/accuracy", "measure: test/accuracy\n    take: max", "would select on the test set"),
        ("seeds: [1, 2]", "seeds: &a [1, 2]\nexplanation: *a", "aliases such as *a are not allowed"),
        ("says: bn gains {effect}", "says: bn gains", "says=bn gains: says needs {effect}"),
        (
            "refute: 0.0",
            "refute: 0.0\n    at: 30",
            "at=30: val/accuracy can't be read at this step of runs with 10 steps",
        ),
        ("optim.momentum=0.0", "lr=3", "sweep.base: lr is already set by the axis lr"),
        (
            "quick:",
            f"requires: [{{{REQUIRED}, refute: 0.5}}]\nquick:",
            "a requirement has one line, confirm; remove refute",
        ),
        ("  axes: {lr: [0.0001, 0.1, 30.0]}", "  axes: {lr: [0.1]}\n a: b", "mine.yaml: can't be read (line 10: "),
    ],
)
def test_a_file_that_is_not_as_it_should_be(old, new, says, capsys):
    assert MINE.count(old) >= 1
    write(MINE.replace(old, new, 1))
    code = claims("run", "mine", "jobs=2")
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert code == 2
    assert not Path("runs").exists()


def test_a_broken_file_is_named_and_hides_no_other_claim(capsys):
    write()
    write(MINE.replace("seeds: [1, 2]", "seeds: [1, 2"), "broken")
    assert claims() == 0
    listed = capsys.readouterr().out
    assert re.search(r"^mine +not judged", listed, re.M)
    assert re.search(r"^own/claim/broken.yaml: can't be read \(line 6: .*\)\.$", listed, re.M)


def test_overrides_of_runs_are_checked_when_a_claim_is_shown(capsys):
    write(MINE.replace("steps=10", "stps=10"))
    assert claims("show", "mine") == 2
    assert "own/claim/mine.yaml: sweep.base: Unknown key stps. Did you mean steps?" in capsys.readouterr().err


def test_a_claim_without_full_is_not_run_at_full_scale(capsys):
    write()
    assert claims("run", "mine", "--scale", "full") == claims("show", "mine", "--scale", "full") == 2
    assert "mine.yaml: has no key full, so it can't be run with --scale full." in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_name_that_is_taken_is_refused(capsys):
    write(name="faster")
    assert claims("run", "faster") == 2
    assert "rename the file" in capsys.readouterr().err


def experiments():
    """Names of the shipped experiments, without reading the whole files: pytest needs them when it collects."""
    files = [yaml_files.folder() / "claim" / f"{name}.yaml" for name in load.claim_names()]
    return [file.stem for file in files if "kind: experiment" in file.read_text(encoding="utf-8")]


def runs_of(claim):
    """Overrides of a few runs, with each arm and each value that the rule reads at least once: composing one takes 0.1 s."""
    arms, axes = list(claim.sweep.arms), claim.sweep.axes
    for i in range(max(len(arms), *map(len, axes.values())) if axes else len(arms)):
        arm = arms[i % len(arms)]
        conditions = [c for c in (*claim.rule, *claim.requires) if arm in c.arms]
        read = {a: [v for v in vs if any(v in c.where.get(a, vs) for c in conditions)] for a, vs in axes.items()}
        point = tuple((axis, values[i % len(values)]) for axis, values in read.items())
        yield plan_run(claim, (arm, point, claim.seeds[0]))


@pytest.mark.parametrize(
    "scale", [pytest.param("small", marks=pytest.mark.long), pytest.param("full", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", experiments())
def test_the_runs_of_every_shipped_claim_can_be_trained(name, scale):
    claim = load.read_claim(name, scale=scale)
    check_overrides(claim, None)
    for run in runs_of(claim):
        compose(*run.overrides)


def test_every_experiment_names_its_own_full_set_up():
    for name in experiments():
        small, full = ({run.name for run in runs_of(load.read_claim(name, scale=scale))} for scale in ("small", "full"))
        assert small != full, name


def test_every_key_of_a_claim_is_documented():
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    for key in f"{load.CLAIM_KEYS} {load.CONDITION_KEYS}".split():
        assert f"`{key}`" in page or re.search(rf"^[ -]*{key}:", page, re.M), key
