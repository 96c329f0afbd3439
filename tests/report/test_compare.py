"""Comparison of two sweeps."""

from pathlib import Path

import pytest
from rich.console import Console

from normexp.report.compare import compare, show_comparison
from normexp.report.read import read
from tests.report.runs import make_run, make_sweep

SETTING = {"metric": "test/accuracy"}


def compared(**options):
    return compare(read([Path("a")]), read([Path("b")]), **SETTING, **options)


def shown(comparison):
    console = Console(width=120)
    with console.capture() as capture:
        show_comparison(console, comparison, ("a", "b"), **SETTING)
    return capture.get()


def test_the_same_seeds_are_paired():
    make_sweep(Path("a"), {("bn", 0.1): [0.90, 0.80, 0.70], ("ln", 0.1): [0.5, 0.6]})
    make_sweep(Path("b"), {("bn", 0.1): [0.92, 0.82, 0.72], ("ln", 0.1): [0.5, 0.6, 0.7]})
    bn, ln = compared().differences
    assert (bn.method, bn.value, bn.half) == ("paired", pytest.approx(0.02), pytest.approx(0, abs=1e-12))
    assert (ln.method, ln.value) == ("Welch", pytest.approx(0.05))
    assert ln.half is not None and ln.half > 0.1
    text = shown(compared())
    assert "+2.00 ± 0.00" in text
    assert "3, 3 paired" in text
    assert "2, 3 Welch" in text
    assert "95 % confidence interval" in text


def test_two_single_runs_have_a_difference_without_an_interval():
    make_run(Path(), name="a", norm="bn", accuracy=0.9)
    make_run(Path(), name="b", norm="gn", accuracy=0.8, seed=3)
    comparison = compared()
    (only,) = comparison.differences
    assert (only.value, only.half, only.method) == (pytest.approx(-0.1), None, "none")
    assert comparison.config == {"norm": ("bn", "gn"), "seed": (0, 3)}
    text = shown(comparison)
    assert "-10.00" in text
    assert "No interval where a side has one run" in text


def test_groups_match_by_the_keys_that_vary_within_a_side():
    make_sweep(Path("a"), {("bn", lr): [0.9, 0.8] for lr in (0.1, 1.0, 10.0)})
    make_sweep(Path("b"), {("ln", lr): [0.7, 0.6] for lr in (0.1, 1.0)})
    make_run(Path("b"), norm="ln", lr=100.0)
    comparison = compared()
    assert comparison.keys == ["lr"]
    assert comparison.config == {"norm": ("bn", "ln")}
    assert [difference.a.group.label for difference in comparison.differences] == ["lr=0.1", "lr=1"]
    assert (comparison.only_a, comparison.only_b) == (["lr=10"], ["lr=100"])
    assert "Only in A: lr=10." in shown(comparison)
    assert compared(by=[]).differences[0].a.n == 6


def test_a_sweep_against_one_run_of_it():
    make_sweep(Path("a"), {(norm, 0.1): [0.9, 0.8] for norm in ("none", "bn", "gn")})
    make_sweep(Path("b"), {("gn", 0.1): [0.7]})
    (only,) = compared().differences
    assert (only.a.group.label, only.value) == ("norm=gn", pytest.approx(-0.15))


def test_options_of_a_choice_that_only_one_side_made_are_no_difference():
    make_sweep(Path("a"), {(norm, 0.1): [0.9] for norm in ("none", "gn")})
    make_sweep(Path("b"), {(norm, 0.1): [0.9] for norm in ("none", "bn")})
    assert compared().config == {}
    assert "They have one config" in shown(compared())


def test_nothing_in_common_and_nothing_that_ended():
    make_run(Path("a"), lr=0.1)
    make_run(Path("a"), lr=0.2)
    make_run(Path("b"), lr=0.3, name="x")
    comparison = compared()
    assert comparison.differences == []
    assert "nothing to subtract" in shown(comparison)
    make_run(Path("b"), lr=0.1, state="diverged", accuracy=None)
    (only,) = compared().differences
    assert (only.value, only.method) == (None, "none")
    assert "B: diverged" in shown(compared())
