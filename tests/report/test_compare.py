"""Comparison of two sweeps."""

from pathlib import Path

import pytest
from rich.console import Console

from normexp.report.compare import compare
from normexp.report.compare_text import describe, show_comparison
from normexp.report.read import read
from tests.report.runs import make_run, make_sweep

SETTING = {"metric": "test/accuracy"}


def compared(**options):
    return compare(read([Path("a")]).runs, read([Path("b")]).runs, **SETTING, **options)


def shown(comparison):
    console = Console(width=120)
    with console.capture() as capture:
        show_comparison(console, describe(comparison, ("a", "b"), **SETTING))
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
    assert "No interval with one run on a side" in text


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
    assert "A and B have the same config" in shown(compared())


def test_nothing_in_common_and_nothing_that_ended():
    make_run(Path("a"), lr=0.1)
    make_run(Path("a"), lr=0.2)
    make_run(Path("b"), lr=0.3, name="x")
    comparison = compared()
    assert comparison.differences == []
    assert "A and B have no group in common." in shown(comparison)
    make_run(Path("b"), lr=0.1, state="diverged", accuracy=None)
    (only,) = compared().differences
    assert (only.value, only.method) == (None, "none")
    assert "B: diverged" in shown(compared())


def settings(folder, accuracies, **config):
    for seed, accuracy in enumerate(accuracies):
        make_run(Path(folder), seed=seed, accuracy=accuracy, name=str(seed), **config)


def test_one_differing_key_is_like_for_like():
    settings("a", [0.9, 0.8, 0.7], norm="none")
    settings("b", [0.95, 0.85, 0.75], norm="gn")  # which brings norm.groups
    comparison = compared()
    assert (comparison.compared, comparison.confounders) == ("norm", [])
    assert comparison.differences[0].method == "paired"
    assert "Confounded" not in shown(comparison)


@pytest.mark.parametrize(
    ("config", "confounders", "both"),
    [
        ({"lr": 0.5}, ["lr"], "both norm and lr"),
        ({"norm__position": "post"}, ["norm.position"], "both norm and norm.position"),
        ({"model": "cnn", "lr": 0.5}, ["model", "lr"], "norm, model and lr"),
    ],
)
def test_several_differing_keys_are_not_paired(config, confounders, both):
    settings("a", [0.90, 0.80, 0.70], norm="none")
    settings("b", [0.92, 0.82, 0.72], norm="bn", **config)
    comparison = compared()
    (only,) = comparison.differences
    assert (only.method, comparison.compared, comparison.confounders) == ("Welch", "norm", confounders)
    assert only.half > 0.1  # of three equal pairs it would be 0
    text = " ".join(shown(comparison).split())
    assert f"Confounded: A and B differ in {both}, so B - A cannot be attributed to norm alone." in text
    assert "Seeds are treated as unpaired." in text


def test_options_of_another_optimizer_belong_to_it():
    settings("a", [0.9, 0.8], optim="sgd", optim__weight_decay=0.0)
    settings("b", [0.9, 0.8], optim="adamw", optim__weight_decay=0.01)
    assert (compared().compared, compared().confounders) == ("optim", [])


def test_data_sets_are_not_subtracted():
    settings("a", [0.9, 0.8, 0.7], norm="none", data="mnist", model="mlp")
    settings("b", [0.95, 0.85, 0.75], norm="none", data="digits", model="cnn")
    (only,) = compared().differences
    assert (only.value, only.half, only.method) == (None, None, "none")
    text = " ".join(shown(compared()).split())
    assert "A and B use different data sets, so B - A is not computed. They also differ in model." in text
    assert "80.00 % ± 10.00" in text and "+5.00" not in text


def test_the_config_names_every_key_of_the_caveat():
    for data in ("mnist", "digits"):
        settings(f"a/{data}", [0.9, 0.8], norm="none", data=data, data__train_size=None)
        settings(f"b/{data}", [0.9, 0.8], norm="none", data=data, data__train_size=500, lr=0.5)
    make_run(Path("b/more"), data="mnist", seed=7, lr=0.6, data__train_size=500)
    comparison = compared(by=["norm"])
    assert comparison.confounders == ["lr"]
    config = describe(comparison, ("a", "b"), **SETTING).config
    assert config == [["data.train_size", "-", "500"], ["lr", "0.1", "0.5, 0.6"]]


def test_grouping_compares_each_data_set_with_itself():
    for folder, shift in (("a", 0.0), ("b", 0.05)):
        for data, accuracy in (("mnist", 0.8), ("digits", 0.9)):
            settings(f"{folder}/{data}", [accuracy + shift, accuracy + shift - 0.1], data=data, lr=0.1 + shift)
    differences = compared(by=["norm"]).differences
    assert sorted(difference.label for difference in differences) == ["norm=none data=digits", "norm=none data=mnist"]
    assert [(entry.value, entry.a.n, entry.method) for entry in differences] == [(pytest.approx(0.05), 2, "paired")] * 2


def test_keys_without_effect_on_the_result_are_not_listed():
    settings("a", [0.9, 0.8], norm="none", jobs=1, data__verify=True, device="cpu", log_every=10, probe__every=5)
    settings("b", [0.9, 0.8], norm="bn", jobs=4, data__verify=False, device="cuda", log_every=20, probe__every=9)
    comparison = compared()
    assert comparison.config == {"norm": ("none", "bn")}
    assert comparison.differences[0].method == "paired"


def test_other_numerics_are_not_paired():
    settings("a", [0.9, 0.8])
    settings("b", [0.9, 0.8])
    for seed in "01":
        Path(f"a/{seed}/environment.json").write_text('{"numerics": 2}')
        Path(f"b/{seed}/environment.json").write_text('{"numerics": 3}')
    comparison = compared()
    assert (comparison.compared, comparison.confounders) == (None, ["numerics"])
    assert comparison.differences[0].method == "Welch"
    assert "different numerics" in shown(comparison)


def test_few_seeds_are_warned_about():
    settings("a", [0.9, 0.8], norm="none")
    settings("b", [0.9, 0.8], norm="bn")
    assert "n < 3: too few seeds for a reliable standard deviation." in shown(compared())


def test_a_key_that_older_runs_lack_does_not_count():
    settings("a", [0.9, 0.8], norm="none")
    settings("b", [0.9, 0.8], norm="bn", new_key=1)
    assert (compared().compared, compared().confounders) == ("norm", [])
