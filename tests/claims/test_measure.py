"""Numbers read from runs: values at a step, steps to a level, diverged runs."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from normexp.claims.measure import Results, plan_run, read_measure, steps_to
from normexp.claims.schema import Measure
from normexp.data import DATA
from normexp.report.read import Curve
from tests.claims.making import ACCURACY, RATES, STEPS, claim, condition


def curve(values, every=10):
    return Curve(np.arange(len(values)) * every, np.array(values, dtype=float))


def test_steps_to_a_level_lie_between_two_evaluations():
    rising = curve([0.1, 0.5, 0.91, 0.95, 0.8])
    assert steps_to(0.9, rising, 40) == (10.0, 20.0)
    assert steps_to(0.05, rising, 40) == (0.0, 0.0)
    assert steps_to(0.91, rising, 40) == (10.0, 20.0)
    assert steps_to(0.9, Curve(np.array([7, 9]), np.array([0.95, 0.99])), 40) == (0.0, 7.0)


def test_a_run_that_never_gets_there_is_censored_at_its_length():
    assert steps_to(0.99, curve([0.1, 0.5]), 40) == (40.0, math.inf)
    assert steps_to(0.99, curve([0.1, math.nan]), 40) == (40.0, math.inf)
    assert steps_to(0.99, None, 40) == (40.0, math.inf)


def test_values_at_a_step():
    by_tag = {"loss": curve([5.0, 4.0, math.nan, 2.0])}

    def at(at):
        return read_measure(Measure(tag="loss", at=at), by_tag)

    assert [at("first"), at("last"), at("min"), at("max"), at("mean")] == [5.0, 2.0, 2.0, 5.0, 11 / 3]
    assert [at(0), at(9), at(10), at(20), at(1000)] == [5.0, 5.0, 4.0, 4.0, 2.0]
    assert math.isnan(read_measure(Measure(tag="other"), by_tag))


def test_several_layers_become_one_number():
    layers = {f"grad/fc{i}": curve([10.0**-i]) for i in (1, 2, 10)}

    def across(name):
        return read_measure(Measure(tag="grad/*", across=name), layers)

    assert across("first/last") == pytest.approx(9.0)
    assert (across("first"), across("last"), across("max")) == (0.1, 1e-10, 0.1)
    assert across("mean") == pytest.approx((0.1 + 0.01 + 1e-10) / 3)
    layers["grad/fc10"] = curve([0.0])
    assert math.isnan(across("first/last"))


def test_matched_loss_is_a_window_of_steps():
    found = {"train/loss": curve([2.0, 1.0, 0.4, 0.3, 0.2, 0.1]), "range": curve([9.0, 8.0, 7.0, 5.0, 1.0, 1.0])}

    def mean(*levels):
        return read_measure(Measure(tag="range", at="mean", below=("train/loss", *levels)), found)

    assert mean(0.5, 0.25) == 6.0
    assert mean(0.5, None) == 3.5
    assert math.isnan(mean(0.01, None))


def results(monkeypatch, state="completed", curves=None, metrics=None, steps=100, **fields):
    """The results of a claim of which each run has this state, with these curves and final metrics."""
    run = SimpleNamespace(
        state=state, metrics=metrics or {}, config={"data": "digits", "steps": steps}, directory=Path(), name="run"
    )
    monkeypatch.setattr("normexp.claims.measure.read_run", lambda *_: run)
    monkeypatch.setattr("normexp.claims.measure.curves", lambda *_: (curves or {}, 0))
    of = claim(condition(), condition(measure=STEPS), axes={"lr": RATES})
    return Results(of, Path("nowhere"), **fields)


def test_a_diverged_run_has_the_accuracy_of_a_guess_and_no_other_number(monkeypatch):
    read = results(
        monkeypatch, "diverged", {"val/accuracy": curve([0.1, 0.95])}, {"val/accuracy": 0.5, "val/loss": 1.0}
    )
    assert read(ACCURACY, "bn", {"lr": 0.1}, 1) == (0.1, 0.1)
    assert all(map(math.isnan, read(Measure(tag="val/loss"), "bn", {"lr": 0.1}, 1)))
    assert read(STEPS, "bn", {"lr": 0.1}, 1) == (0.0, 10.0)  # it got there before
    named = replace(DATA["digits"], classes=0, class_names=("a", "b", "c", "d"))  # as a package may say it
    monkeypatch.setitem(DATA.loaded, "digits", named)
    assert read(ACCURACY, "bn", {"lr": 0.1}, 1) == (0.25, 0.25)
    never = results(monkeypatch, "diverged", {"val/accuracy": curve([0.1, 0.2])})
    assert never(STEPS, "bn", {"lr": 0.1}, 1) == (100.0, math.inf)


def test_final_metrics_are_read_from_the_summary(monkeypatch):
    read = results(monkeypatch, metrics={"val/accuracy": 0.9, "val/loss": None})
    assert read(ACCURACY, "bn", {"lr": 0.1}, 1) == (0.9, 0.9)
    assert all(map(math.isnan, read(Measure(tag="val/loss"), "bn", {"lr": 0.1}, 1)))
    assert read.unlogged() is None
    other = results(monkeypatch, metrics={"val/acuracy": 0.9})
    other(ACCURACY, "bn", {"lr": 0.1}, 1)
    assert other.unlogged() == "no run has logged val/accuracy. Did you mean val/acuracy?"


def test_a_step_that_is_not_logged_is_reported_with_the_nearest(monkeypatch):
    read = results(monkeypatch, curves={"val/accuracy": curve([0.1, 0.5, 0.9])}, metrics={"val/accuracy": 0.9})
    for at, message in ((10, None), (14, "val/accuracy is not logged at step 14; nearest: 10 and 20.")):
        measure = Measure(tag="val/accuracy", at=at)
        asked = replace(read, claim=claim(condition(measure=measure), axes={"lr": RATES}))
        asked(measure, "bn", {"lr": 0.1}, 1)
        assert asked.unlogged() == message


@pytest.mark.parametrize("state", ["failed", "running", "interrupted"])
def test_a_run_without_a_result_is_still_to_be_trained(monkeypatch, state):
    assert results(monkeypatch, state)(ACCURACY, "bn", {"lr": 0.1}, 1) is None
    assert results(monkeypatch, names=set())(ACCURACY, "bn", {"lr": 0.1}, 1) is None


def test_an_added_value_that_no_network_can_have_is_not_defined(monkeypatch):
    of = claim(condition(), axes={"dropout": (0.1, 0.5)})
    key = "bn", (("dropout", 2.5),), 1
    planned = plan_run(of, key)
    assert planned.added
    assert "dropout=2.5" in planned.overrides
    assert not plan_run(of, ("bn", (("dropout", 0.5),), 1)).added
    read = Results(of, Path("nowhere"), impossible={planned.name})
    assert all(map(math.isnan, read(ACCURACY, "bn", {"dropout": 2.5}, 1)))
    assert read(ACCURACY, "bn", {"dropout": 0.5}, 1) is None
