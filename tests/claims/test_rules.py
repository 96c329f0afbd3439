"""Every rule that is shipped, fed with made-up results: each must be able to give each verdict."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from normexp.claims import fingerprint
from normexp.claims import headline as headlines
from normexp.claims.effects import effects
from normexp.claims.judge import cells, compare_to_threshold, judge
from normexp.claims.load import claim_names, read_claim
from normexp.claims.runner import build_verdict
from normexp.claims.schema import Condition, Measure
from normexp.claims.verdict import Verdict
from normexp.config import yaml_files

LEVELS = (0.0, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.85, 0.97, 1.0, 3.0, 10.0, 100.0, 1000.0)


class World:
    """Made-up results: a level for each measure, arm and value of the axes, and noise. Nothing is defined without levels."""

    def __init__(self, claim, rng):
        self.rng, self.noise, self.rules = rng, 0.0, []
        conditions = (*claim.rule, *claim.requires)
        self.measures = list({m: 0 for c in conditions for m in (c.measure, c.other, Measure(tag=c.choose_by)) if m})
        self.arms = list(claim.sweep.arms) if claim.sweep else [""]
        self.axes = {axis: tuple(values) for axis, values in claim.sweep.axes.items()} if claim.sweep else {}
        marks = {c.threshold * f for c in conditions for f in (0.5, 1.0, 1.5)}
        self.levels = [*LEVELS, *marks]
        self.wobble = {}

    def change(self):
        """Give another level to a measure of an arm, at some values of some axes."""
        fixed = {axis: set(self._some(values)) for axis, values in self.axes.items() if self.rng.random() < 0.5}
        which = self.measures[self.rng.integers(len(self.measures))], self.arms[self.rng.integers(len(self.arms))]
        self.rules.append((which, fixed, self.levels[self.rng.integers(len(self.levels))]))

    def _some(self, values):
        return [v for v in values if self.rng.random() < 0.5] or [values[self.rng.integers(len(values))]]

    def __call__(self, measure, arm, place, seed):
        for which, fixed, level in reversed(self.rules):
            if which == (measure, arm) and all(place[axis] in values for axis, values in fixed.items()):
                where = measure, arm, tuple(place.items()), seed
                if where not in self.wobble:
                    self.wobble[where] = self.rng.standard_normal() * (self.rng.random() < 0.5)
                return level + self.noise * self.wobble[where]
        return 0.4 if self.rules else math.nan


def climb(claim, rng, wanted, tries=3000):
    """A world with the wanted verdict, from changes that bring no fewer cells there; None where none was found."""
    world, best = World(claim, rng), -math.inf
    world.rules.append(((None, None), {}, 0.0))
    for _ in range(tries):
        found = judge(claim, world)
        if found.outcome == wanted:
            return world
        score = sum(cell.outcome == wanted for of in found.conditions if of.decides for cell in of.cells)
        score -= 0.1 * sum(cell.outcome == "not comparable" for of in found.conditions for cell in of.cells)
        if score < best:
            world.rules.pop()
        best = max(best, score)
        world.change()
    return None


def blurred(claim, world):
    """The same with so much noise that the rule can't tell."""
    for world.noise in [*10.0 ** np.arange(-15, 4, 0.5)] * 5:
        world.wobble.clear()
        if judge(claim, world).outcome == "inconclusive":
            return True
    return False


@pytest.mark.parametrize("name", claim_names())
def test_each_rule_can_give_each_verdict(name):
    claim, rng = read_claim(name, quick=True), np.random.default_rng(0)
    assert judge(claim, World(claim, rng)).outcome == "not comparable"
    found = [climb(claim, rng, wanted) for wanted in ("confirmed", "refuted")]
    assert None not in found
    assert any(blurred(claim, world) for world in found)


@pytest.mark.parametrize("name", [n for n in claim_names() if read_claim(n).kind == "experiment"])
def test_with_its_arms_swapped_what_is_confirmed_is_not(name):
    claim, rng = read_claim(name, quick=True), np.random.default_rng(1)
    world = climb(claim, rng, "confirmed")
    judged = judge(claim, world).conditions
    for i, condition in enumerate(claim.rule):
        if condition.comparison not in ("difference", "ratio") or not condition.decides:
            continue
        equal = 1.0 if condition.comparison == "ratio" else 0.0
        above, below = condition.threshold > equal, condition.threshold < equal
        if {">=": below, "<=": above, "within": True}[condition.direction]:
            continue  # equal arms satisfy it: "no more than two points better"
        one, two = condition.arms
        other = judge(claim, lambda m, arm, *at, s={one: two, two: one}: world(m, s.get(arm, arm), *at))
        for cell, again in zip(judged[i].cells, other.conditions[i].cells, strict=True):
            if cell.outcome == "confirmed" and abs(cell.effect - equal) > 1e-3:
                assert again.outcome != "confirmed"


def test_what_is_tuned_is_never_chosen_by_the_test_set():
    for name in claim_names():
        claim = read_claim(name)
        for condition in (*claim.rule, *claim.requires):
            assert not condition.choose_by.startswith("test")
            if condition.over is not None and condition.reduction in ("decades", "largest"):
                assert not condition.measure.tag.startswith("test")


def test_every_condition_has_a_cell_and_every_arm_is_used():
    for name in claim_names():
        for scale in ("small", "full"):
            for quick in (False, True):
                claim = read_claim(name, scale=scale, quick=quick)
                assert len(claim.seeds) >= 3
                for condition in (*claim.rule, *claim.requires):
                    assert isinstance(condition, Condition)
                    assert list(cells(condition, claim))
                used = {arm for c in (*claim.rule, *claim.requires) for arm in c.arms}
                arms = set(claim.sweep.arms) if claim.sweep else set()
                assert used <= arms


def test_effects_are_made_seed_by_seed():
    claim = read_claim("higher-lr")
    seen = []

    def measured(measure, arm, place, seed):
        seen.append(seed)
        return 0.95 if arm == "bn" or place["lr"] in (0.1, 0.3) else 0.1

    found = effects(claim.rule[0], claim, {"activation": "relu"}, measured)
    assert found.by_seed.tolist() == pytest.approx([math.log10(30 / 0.003) - math.log10(3)] * 5)
    assert set(seen) == set(claim.seeds)


def test_a_best_value_at_the_end_of_what_was_tried_is_told():
    claim = read_claim("position")
    rates = tuple(claim.sweep.axes["lr"])
    for peak, told in ((rates[1], None), (rates[-1], "largest for pre, largest for post")):
        found = judge(
            claim, lambda m, arm, place, seed, p=peak: 0.9 + 0.01 * (place["lr"] == p) + 0.001 * (arm == "pre")
        )
        note = found.conditions[0].cells[0].note
        assert note is None if told is None else told in note


def test_matched_loss_is_a_window_of_steps():
    from normexp.claims.measure import read_measure
    from normexp.report.read import Curve

    steps = np.arange(6) * 10
    found = {
        "train/loss": Curve(steps, np.array([2.0, 1.0, 0.4, 0.3, 0.2, 0.1])),
        "landscape/loss_range": Curve(steps, np.array([9.0, 8.0, 7.0, 5.0, 1.0, 1.0])),
    }
    between = Measure(tag="landscape/loss_range", at="mean", below=("train/loss", 0.5, 0.25))
    assert read_measure(between, found) == 6.0
    assert read_measure(Measure(tag="landscape/loss_range", at="mean", below=("train/loss", 0.5, None)), found) == 3.5
    assert math.isnan(read_measure(Measure(tag="landscape/loss_range", below=("train/loss", 0.01, None)), found))
    layers = {f"grad_flow/fc{i}": Curve(steps[:1], np.array([10.0**-i])) for i in (1, 2, 10)}
    assert read_measure(Measure(tag="grad_flow/*", across="first/last"), layers) == pytest.approx(9.0)


def test_rounding_decides_nothing():
    claim = read_claim("higher-lr")
    largest = claim.rule[1]
    for none, bn in ((0.1, 0.3), (10, 30), (0.01, 0.03), (1, 3)):  # each is three times, but for rounding
        works = {"none": none, "bn": bn, "ln": none}
        found = judge(claim, lambda m, arm, place, seed, w=works: 0.95 if place["lr"] == w[arm] else 0.1)
        judged = found.conditions[claim.rule.index(largest)]
        assert {cell.outcome for cell in judged.cells} == {"confirmed"}


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e14])
def test_rounding_at_a_margin_decides_nothing(scale):
    """0.4 - 0.3 is a little more than 0.1."""
    rule = {"what": "", "measure": Measure(tag="loss"), "arms": ("a",), "comparison": "value", "direction": "within"}
    condition = Condition(**rule, threshold=0.0, margin=0.1 * scale)
    effect = (0.4 - 0.3) * scale
    assert effect > condition.margin
    assert compare_to_threshold(condition, -effect, effect) == "confirmed"
    assert compare_to_threshold(condition, 1.001 * effect, 1.001 * effect) == "refuted"


def test_between_the_line_that_confirms_and_the_one_that_refutes_nothing_is_decided():
    claim = read_claim("ics-mechanism")
    assert (claim.rule[0].threshold, claim.rule[0].refuted_beyond) == (0.0, 0.02)
    for gain, verdict in (
        (-0.01, "confirmed"),
        (0.0, "confirmed"),
        (0.01, "inconclusive"),
        (0.02, "inconclusive"),
        (0.03, "refuted"),
    ):
        level = {"none": 0.93, "bn": 0.96, "bn, noisy": 0.93 + gain}

        def measured(measure, arm, place, seed, level=level):
            return (2.0 if "noisy" in arm else 1.0) if measure.tag.startswith("jump") else level.get(arm, 0.9)

        assert judge(claim, measured).outcome == verdict


def test_verdicts_of_a_version_whose_numbers_differ_are_stale(monkeypatch):
    claim, now = read_claim("higher-lr"), fingerprint.code_fingerprint()
    judging = fingerprint.judging_fingerprint()
    content = {"format": 1, "conditions": [], "rule": claim.fingerprint, "code": now, "judging": judging}
    verdict = Verdict.from_json(content)
    assert fingerprint.is_fresh(verdict, claim, now)
    monkeypatch.setattr(fingerprint, "NUMERICS", fingerprint.NUMERICS + 1)
    assert not fingerprint.is_fresh(verdict, claim, fingerprint.code_fingerprint())


def test_a_sentence_makes_no_verdict_stale_and_a_threshold_does(tmp_path):
    shipped = yaml_files.folder() / "claim" / "small-batch.yaml"
    text = shipped.read_text(encoding="utf-8")
    (tmp_path / "claim").mkdir()

    def own(text):
        (tmp_path / "claim" / "own.yaml").write_text(text, encoding="utf-8")
        return read_claim("own", tmp_path)

    before = own(text)
    reworded = own(re.sub(r"(what|statement|source|cost): ", r"\1: other words ", text) + "  One more line.\n")
    assert reworded.fingerprint == before.fingerprint
    texts = (reworded.statement, reworded.cost, reworded.requires[0].what, reworded.rule[0].what)
    assert all(text.startswith("other words ") for text in texts)
    assert own(text.replace("threshold: 0.2", "threshold: 0.3", 1)).fingerprint != before.fingerprint

    judgement = judge(before, lambda *_: 0.5)
    verdict = build_verdict(before, judgement, code="", seconds=1.0, config_dir=None)
    again = headlines.reworded(verdict, reworded)
    assert (again.statement, again.conditions[0].what) == (reworded.statement, reworded.rule[0].what)
    assert again.because.startswith("Other words test accuracy of the MLP at batch size 2, ln minus bn (")


def test_a_docstring_or_a_name_makes_no_verdict_stale_and_a_number_does(tmp_path, monkeypatch):
    package = tmp_path / "normexp"
    shutil.copytree(Path(fingerprint.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "__file__", str(package / "claims" / "fingerprint.py"))
    before = fingerprint.code_fingerprint(), fingerprint.judging_fingerprint()

    norm = package / "norms" / "gn.py"
    norm.write_text(norm.read_text().replace('"""', '"""In other words: ', 1) + "# a comment\n")
    norm.rename(norm.with_name("group_norm.py"))
    error = package / "config" / "reader.py"
    error.write_text(error.read_text() + "def f():\n    raise ValueError('a message')\n")
    with_error = fingerprint.code_fingerprint()
    error.write_text(error.read_text().replace("a message", "other words"))
    assert fingerprint.code_fingerprint() == with_error
    error.write_text(error.read_text().replace("def f():\n    raise ValueError('other words')\n", ""))
    terminal = package / "claims" / "terminal.py"
    terminal.write_text(terminal.read_text() + "x = 1\n")
    own = tmp_path / "own" / "norm" / "slow.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("eps: 1e-5  # a comment\n")
    with_own = fingerprint.code_fingerprint(tmp_path / "own")
    own.write_text("# another comment\neps: 1e-5\n")
    assert fingerprint.code_fingerprint(tmp_path / "own") == with_own
    own.write_text("eps: 1e-6\n")
    assert fingerprint.code_fingerprint(tmp_path / "own") != with_own
    assert (fingerprint.code_fingerprint(), fingerprint.judging_fingerprint()) == before

    order = package / "data" / "batches.py"
    order.write_text(order.read_text() + "x = 1\n")
    assert fingerprint.code_fingerprint() != before[0]
    judge = package / "claims" / "judge.py"
    judge.write_text(judge.read_text() + "x = 1\n")
    assert fingerprint.judging_fingerprint() != before[1]
