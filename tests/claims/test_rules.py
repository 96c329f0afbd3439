"""Every rule that is shipped, fed with made-up results: each must be able to give each verdict."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from normexp.claims.judge import cells, judge
from normexp.claims.load import claim_names, read_claim
from tests.claims.worlds import World, find

NAMES = claim_names()


@cache
def claim_of(name):
    """A claim with three seeds, and without added values, so that it is judged in milliseconds."""
    claim = read_claim(name)
    return replace(claim, seeds=claim.seeds[:3], quick=True)


@cache
def world_of(name, outcome):
    """Made-up results with this outcome."""
    worlds = (find(claim_of(name), np.random.default_rng(seed), outcome) for seed in range(5))
    return next((world for world in worlds if world is not None), None)


def comparable_world_of(name):
    """Made-up results that confirm the claim, if possible in all cells: not with requirements that some of them don't meet."""
    claim = claim_of(name)
    for seed in range(20):
        world = find(claim, np.random.default_rng(seed), "confirmed")
        judged = judge(claim, world).conditions if world else []
        if judged and all(cell.outcome == "confirmed" for c in judged if c.decides for cell in c.cells):
            return world
    return world_of(name, "confirmed")


def possible(claim):
    """The outcomes that the claim's rule must be able to give."""
    deciding = [(c, cell) for c in claim.rule if c.decides for cell in cells(c, claim)]
    several = claim.combine == "all" and len(deciding) > 1  # one cell of `any` confirms the whole
    outcomes = ["confirmed", "refuted"] + ["confirmed in part"] * several
    lattice = any(c.reduction in ("decades", "largest") for c, _ in deciding)  # one step may be as wide as both lines
    return outcomes + ["smaller than claimed"] * (claim.sweep is not None and not lattice)


@pytest.mark.parametrize("name", NAMES)
def test_each_rule_can_give_each_verdict(name):
    claim = claim_of(name)
    assert judge(claim, lambda *_: (math.nan, math.nan)).outcome == "not comparable"
    assert [outcome for outcome in possible(claim) if world_of(name, outcome) is None] == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, name in enumerate(NAMES)]
)
def test_each_rule_is_undecided_with_enough_noise(name):
    """Noise of the size that hides the lines, but leaves most requirements met."""
    claim, found = claim_of(name), world_of(name, "confirmed")
    world = World(claim, np.random.default_rng(0))
    world.levels = found.levels
    for world.noise in [*10.0 ** np.arange(-15, 3, 0.5)] * 5:
        if judge(claim, world).outcome == "undecided":
            return
    raise AssertionError("never undecided")


@pytest.mark.parametrize("name", NAMES)
def test_with_its_arms_swapped_what_is_confirmed_is_not(name):
    claim, world = claim_of(name), comparable_world_of(name)
    judged = judge(claim, world).conditions
    for i, condition in enumerate(claim.rule):
        if condition.comparison not in ("difference", "ratio") or not condition.decides or condition.contrast:
            continue
        equal = 1.0 if condition.comparison == "ratio" else 0.0
        if {">=": condition.confirm <= equal, "<=": condition.confirm >= equal, "within": True}[condition.direction]:
            continue  # equal arms satisfy it: "no more than two points better"
        one, two = condition.arms
        swap = {one: two, two: one}
        other = judge(claim, lambda measure, arm, *at, s=swap: world(measure, s.get(arm, arm), *at))
        for cell, again in zip(judged[i].cells, other.conditions[i].cells, strict=True):
            assert cell.outcome == "confirmed"
            assert again.outcome in ("refuted", "not comparable")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_ever_chosen_by_the_test_set(name):
    claim = read_claim(name)
    for condition in (*claim.rule, *claim.requires):
        chooses = condition.choose_by or condition.measure.tag
        if condition.over is not None and condition.reduction in ("best", "gain"):
            assert not chooses.startswith("test")
        if condition.over is not None and condition.reduction in ("decades", "largest", "min", "max"):
            assert not condition.measure.tag.startswith("test")


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_is_explained_every_condition_has_a_cell_and_every_arm_is_used(name):
    assert all(getattr(read_claim(name), text) for text in ("background", "explanation", "would_change"))
    for scale, quick in (("small", False), ("full", False), ("small", True), ("full", True)):
        claim = read_claim(name, scale=scale, quick=quick)
        conditions = (*claim.rule, *claim.requires)
        assert len(claim.seeds) >= 3
        assert all(list(cells(condition, claim)) for condition in conditions)
        used = {arm for condition in conditions for arm in condition.arms}
        assert used == (set(claim.sweep.arms) if claim.sweep else set())
