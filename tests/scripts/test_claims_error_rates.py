"""The simulated error rates of the rules, with fewer repetitions. The bounds tell level .017 from .03."""

import claims_error_rates
import numpy as np
import pytest
from claims_error_rates import (
    RULE,
    Design,
    error_of_looks,
    false_confirmation,
    false_refutation,
    power,
    simulate,
    worst,
)
from claims_error_rates import decide as decide_all

from normexp.claims import decide
from normexp.claims.judge import judge
from normexp.claims.schema import LOOK_LEVEL, LOOKS
from tests.claims.making import claim, condition, exactly

FEW = 4_000  # the standard error of a rate of .05 is then .0034


def test_four_looks_add_up_to_less_than_5_percent():
    assert error_of_looks(40_000) == pytest.approx(0.047, abs=0.003)
    assert error_of_looks(40_000, 0.03) > 0.07


@pytest.mark.parametrize("combine", ["all", "any"])
@pytest.mark.parametrize("cells", [1, 4])
def test_errors_at_the_lines(combine, cells):
    design = Design(cells, combine, FEW)
    assert 0.03 < false_confirmation(design) < 0.065
    assert 0.03 < false_refutation(design) < 0.065
    high = Design(cells, combine, FEW, level=0.03)
    assert false_confirmation(high) > 0.065
    assert false_refutation(high) > 0.065


@pytest.mark.parametrize("combine", ["all", "any"])
def test_a_rule_without_its_confirming_line_is_noticed(monkeypatch, combine):
    monkeypatch.setattr(decide, "confirming_range", decide.unrefuted_range)
    assert false_confirmation(Design(4, combine, 500)) > 0.5


def test_a_rule_without_its_correction_is_noticed(monkeypatch):
    monkeypatch.setattr(decide, "holm", lambda p: p)
    assert false_refutation(Design(9, "all", 1000)) > 0.2
    assert false_confirmation(Design(9, "any", 1000)) > 0.2


def test_power():
    assert power(Design(4, "all", 1000), 2).confirmed > 0.99
    assert power(Design(4, "all", 1000), 1).confirmed > 0.9
    assert power(Design(4, "any", 1000), 1).confirmed > 0.9
    assert 5 <= power(Design(1, "all", 1000), 2).seeds < power(Design(1, "all", 1000), 1).seeds < 12


def test_stopping_hopeless_cells_costs_little_power_and_saves_a_quarter_of_the_seeds(monkeypatch):
    design = Design(1, "all", FEW)
    near, at_line = power(design, 1), simulate(design, [RULE.confirm])
    monkeypatch.setattr(claims_error_rates, "FUTILE", 10**9)
    all_near, all_at_line = power(design, 1), simulate(design, [RULE.confirm])
    assert 0 < all_near.confirmed - near.confirmed < 0.01
    assert 0.65 < at_line.seeds / all_at_line.seeds < 0.8
    assert at_line.confirmed <= all_at_line.confirmed
    assert at_line.refuted <= all_at_line.refuted


@pytest.mark.parametrize("combine", ["all", "any"])
def test_the_simulation_decides_as_the_engine_does(combine):
    """Seed for seed: claims of three cells with effects near the lines; some are decided at each look, some stopped."""
    effects, ends = np.random.default_rng(0).normal(0.8, 0.6, size=(60, 3, LOOKS[-1])), set()
    of = claim(condition(), axes={"act": ("relu", "tanh", "gelu")}, combine=combine)
    for cells in effects:
        by_act = dict(zip(("relu", "tanh", "gelu"), cells, strict=True))
        found = judge(of, exactly(lambda arm, point, seed, of=by_act: (arm == "bn") * of[point["act"]][seed - 1]))
        judged = found.conditions[0].cells
        outcomes, rates = [cell.outcome for cell in judged], decide_all(cells[None], combine, LOOK_LEVEL)
        every = all if combine == "all" else any
        assert rates.confirmed == every(outcome == "confirmed" for outcome in outcomes)
        assert rates.refuted == (any if combine == "all" else all)(outcome == "refuted" for outcome in outcomes)
        assert rates.seeds == pytest.approx(np.mean([cell.n for cell in judged]))
        ends |= {(cell.n, cell.outcome == "undecided") for cell in judged}
    assert ends == {(5, False), (8, False), (12, False), (20, False), (8, True), (12, True), (20, True)}


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_errors_where_the_learning_rate_is_chosen(slope):
    """Also if all learning rates are equally good (slope 0). Seeds that choose for each other would have an error of .08."""
    assert 0.035 < false_confirmation(Design(1, "all", 10_000, slope=slope)) < 0.06
    assert all(rates.confirmed < 0.065 for rates in worst(Design(4, "all", 3000, slope=slope), RULE.confirm))
