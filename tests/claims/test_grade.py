"""Grades, and the mark of rules that may have been fitted to their seeds."""

import json
from dataclasses import replace

import pytest

from normexp.claims import grade as grades
from normexp.claims.grade import SEEN, grade, is_exploratory, record_seeds
from normexp.claims.judge import judge
from tests.claims.making import RATES, claim, condition, exactly

FIRST = (1, 2, 3, 4, 5)


@pytest.fixture(autouse=True)
def _nothing_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(grades.yaml_files, "folder", lambda: tmp_path / "configs")


def changed(of):
    return replace(of, rule=(replace(of.rule[0], confirm=2.0),))


def test_a_rule_that_changes_after_its_seeds_were_seen_is_exploratory(tmp_path):
    old, new = claim(condition()), changed(claim(condition()))
    assert not is_exploratory(old, FIRST, tmp_path)
    record_seeds(old, FIRST, tmp_path)
    assert not is_exploratory(old, FIRST, tmp_path)
    assert is_exploratory(new, FIRST, tmp_path)
    assert is_exploratory(new, (5, 6, 7), tmp_path)
    assert not is_exploratory(new, (6, 7), tmp_path)  # fresh seeds
    record_seeds(new, FIRST, tmp_path)
    assert is_exploratory(new, FIRST, tmp_path)
    assert not is_exploratory(old, FIRST, tmp_path)  # it was there first
    fresh = replace(new, seeds=(601, 602, 603))
    record_seeds(fresh, fresh.seeds, tmp_path)
    assert not is_exploratory(fresh, fresh.seeds, tmp_path)


def test_a_copy_of_a_claim_is_exploratory_under_any_name(tmp_path):
    """With the same runs, though arms may be renamed and values added: the author can have seen them."""
    old = claim(condition(), axes={"lr": RATES})
    copy = replace(changed(old), name="copy")
    renamed = replace(old.sweep, arms=dict(zip("ab", old.sweep.arms.values(), strict=True)), axes={"lr": {}})
    record_seeds(old, FIRST, tmp_path)
    for of in (copy, replace(copy, sweep=renamed)):
        assert is_exploratory(of, FIRST, tmp_path)
        assert not is_exploratory(of, (601, 602), tmp_path)
    for sweep in (
        replace(old.sweep, base=("steps=9",)),
        claim(condition(), arms=("bn", "ln"), axes={"lr": RATES}).sweep,
    ):
        assert not is_exploratory(replace(copy, sweep=sweep), FIRST, tmp_path)
    assert not is_exploratory(replace(old, name="copy"), FIRST, tmp_path)  # the same rule


def test_claims_that_share_runs_and_existed_before_them_are_not_exploratory(tmp_path):
    old = claim(condition())
    twin = replace(changed(old), name="twin")
    record_seeds(old, FIRST, tmp_path, [old, twin])
    assert not is_exploratory(twin, FIRST, tmp_path)
    assert is_exploratory(replace(twin, combine="any"), FIRST, tmp_path)  # a third rule, written later


def test_records_without_their_runs_count_by_name(tmp_path):
    old = claim(condition())
    line = {"claim": "mine", "scale": "small", "quick": False, "rule": "of old", "seeds": FIRST}
    (tmp_path / SEEN).write_text(json.dumps(line))
    assert is_exploratory(old, FIRST, tmp_path)
    assert not is_exploratory(replace(old, name="copy"), FIRST, tmp_path)


def test_other_scales_and_sentences_do_not_count(tmp_path):
    old = claim(condition())
    record_seeds(old, FIRST, tmp_path)
    new = changed(old)
    assert is_exploratory(replace(new, statement="In other words."), FIRST, tmp_path)
    for field in ({"scale": "full"}, {"quick": True}):
        assert not is_exploratory(replace(new, **field), FIRST, tmp_path)
    reworded = replace(old, statement="In other words.", rule=(replace(old.rule[0], what="x", says="y"),))
    assert not is_exploratory(reworded, FIRST, tmp_path)
    for part in (
        {"combine": "any"},
        {"requires": (condition(),)},
        {"sweep": claim(condition(), axes={"lr": RATES}).sweep},
    ):
        assert is_exploratory(replace(old, **part), FIRST, tmp_path)


def test_the_seeds_of_trials_are_shipped_with_the_claims(tmp_path):
    old, folder = claim(condition()), tmp_path / "configs" / "claim"
    folder.mkdir(parents=True)
    record_seeds(old, FIRST, folder)
    assert is_exploratory(changed(old), FIRST, tmp_path)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"null", b"[1]", b'{"claim": "mine"}', b"\xff\xfe", b"[" * 5000, b"1e999"]
)
def test_damaged_lines_are_left_out(tmp_path, damage):
    old = claim(condition())
    record_seeds(old, FIRST, tmp_path)
    path = tmp_path / SEEN
    bad = b'{"claim": "mine", "scale": "small", "quick": false, "rule": "x", "seeds": [7, 1e999]}'
    path.write_bytes(damage + b"\n" + bad + b"\n" + path.read_bytes() + b'{"claim": "mi')
    assert is_exploratory(changed(old), FIRST, tmp_path)
    assert not is_exploratory(changed(old), (7,), tmp_path)
    record_seeds(old, (6, 7), tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seeds"] for line in lines] == [[1, 2, 3, 4, 5], [6, 7]]


def test_seeds_are_recorded_once(tmp_path):
    old = claim(condition())
    for seeds in (FIRST, FIRST, (1, 2), (*FIRST, 6, 7, 8), FIRST):
        record_seeds(old, seeds, tmp_path)
    assert len((tmp_path / SEEN).read_text().splitlines()) == 2


def letter(of, best_lr=0.1, **options):
    judgement = judge(of, exactly(lambda arm, point, seed: (arm == "bn") - abs(point.get("lr", 0) - best_lr)))
    return grade(of, judgement, **{"exploratory": False, **options})


def test_grades():
    tuned = claim(condition(over="lr"), axes={"lr": RATES})
    assert letter(tuned) == ("A", [])
    assert letter(tuned, exploratory=True) == ("B", ["the rule changed after its seeds were seen"])
    assert letter(replace(tuned, seeds=(1, 2, 3))) == ("B", ["fewer than 5 seeds"])
    assert letter(claim(condition())) == ("B", ["the learning rate is not tuned"])
    at_end, (lack,) = letter(tuned, best_lr=1e5)
    assert (at_end, lack) == ("B", "a best value is at the end of its range (bn: largest, none: largest)")
    assert letter(replace(claim(condition()), seeds=(1, 2, 3)))[0] == "C"
    assert letter(replace(tuned, quick=True)) == ("C", [])
    assert letter(replace(tuned, kind="exact"), exploratory=True) == ("", [])
