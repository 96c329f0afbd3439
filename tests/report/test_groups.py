"""Grouping of runs, and the keys that tell groups apart."""

import json
from pathlib import Path

import pytest

from normexp import NUMERICS
from normexp.config import RESULT_INDEPENDENT_KEYS, ConfigError
from normexp.report.groups import IGNORED_KEYS, differing, format_value, group
from normexp.report.read import read
from tests.report.runs import make_run, make_sweep


def grouping(*folders, by=None):
    return group(read([Path(folder) for folder in folders or ["runs"]]).runs, by)


def test_seeds_share_a_group_and_groups_stand_in_the_order_of_their_values():
    make_sweep(Path("runs"), {(norm, lr): [0.9, 0.8] for norm in ("gn", "bn", "none") for lr in (10.0, 0.5, 2.0)})
    result = grouping()
    assert result.keys == ["norm", "lr"]
    labels = [entry.label for entry in result.groups[:4]]
    assert labels == ["norm=none lr=0.5", "norm=none lr=2", "norm=none lr=10", "norm=bn lr=0.5"]
    assert all([run.config["seed"] for run in entry.runs] == [0, 1] for entry in result.groups)
    assert result.groups[3].values == {"norm": "bn", "lr": 0.5}


def test_an_option_that_only_one_choice_has_is_no_difference():
    make_run(Path("runs"), norm="bn")
    make_run(Path("runs"), norm="gn", norm__groups=2)
    assert grouping().keys == ["norm"]
    make_run(Path("runs"), norm="gn", norm__groups=4, name="more")
    result = grouping()
    assert result.keys == ["norm", "norm.groups"]
    assert [entry.label for entry in result.groups] == ["norm=bn", "norm=gn norm.groups=2", "norm=gn norm.groups=4"]
    assert result.groups[0].values["norm.groups"] is None


def test_keys_for_logging_and_location_are_ignored():
    make_run(Path("runs"), name="a", log_every=10, device="cpu", probe__every=10)
    make_run(Path("runs"), name="b", log_every=20, device="cuda", probe="off", probe__every=None, jobs=2)
    result = grouping()
    assert result.keys == []
    assert [entry.label for entry in result.groups] == ["all runs"]


def test_norms_come_first_then_groups_of_the_config_then_the_rest():
    make_run(Path("runs"), name="a")
    model = {"model__depth": 5, "model__channels": [8]}
    make_run(Path("runs"), name="b", lr=1.0, norm="bn", **model, init="xavier", zeta=1, dropout=0.5)
    make_run(Path("runs"), name="c", zeta=2, dropout=0.1, model__channels=[16, 32])
    keys = differing(read([Path("runs")]).runs)
    assert keys == ["norm", "model.channels", "model.depth", "init", "dropout", "lr", "zeta"]


def test_grouping_by_given_keys():
    make_sweep(Path("runs"), {(norm, lr): [0.9, 0.8] for norm in ("bn", "none") for lr in (0.5, 2.0)})
    sizes = [(entry.label, len(entry.runs)) for entry in grouping(by=["norm"]).groups]
    assert sizes == [("norm=none", 4), ("norm=bn", 4)]
    assert [entry.label for entry in grouping(by=["seed", "lr"]).groups][:2] == ["seed=0 lr=0.5", "seed=0 lr=2"]
    assert len(grouping(by=[]).groups) == 1
    with pytest.raises(ConfigError, match=r"Unknown key norms\. Did you mean norm\?"):
        grouping(by=["norms"])


def test_skipped_combinations_are_in_no_group():
    make_run(Path("runs"), norm="bn")
    (make_run(Path("runs"), norm="in", state="skipped") / "config.yaml").unlink()
    make_run(Path("runs"), norm="ln", state="skipped")
    result = grouping()
    assert (result.keys, len(result.groups), len(result.skipped)) == ([], 1, 2)


def test_format_value():
    formatted = list(map(format_value, (0.1, 100.0, 1e-5, True, None, [16, 32], "bn", 0.1 + 0.2)))
    assert formatted == ["0.1", "100", "1e-05", "true", "-", "[16,32]", "bn", "0.3"]


def test_a_repeated_run_counts_once():
    for name in ("a", "b"):
        make_run(Path("runs"), name=name, norm="bn", seed=0, accuracy=0.9)
    make_run(Path("runs"), name="c", norm="bn", seed=1, accuracy=0.8)
    make_run(Path("runs"), name="d", norm="bn", lr=7.0, seed=0, accuracy=0.5)
    result = group(read([Path("runs")]).runs, ["norm"])
    (only,) = result.groups
    assert [run.name for run in only.runs] == ["a", "c", "d"]
    assert result.repeated == 1


def test_keys_that_do_not_change_the_result_are_ignored():
    assert {"checkpoint_every", "data.verify", *RESULT_INDEPENDENT_KEYS} <= IGNORED_KEYS


def test_runs_of_versions_whose_numbers_differ_are_not_averaged(tmp_path):
    for seed, version in ((0, NUMERICS), (1, NUMERICS), (2, 1)):
        directory = make_run(tmp_path, norm="bn", seed=seed)
        (directory / "environment.json").write_text(json.dumps({"numerics": version} if version > 1 else {}))
    result = grouping(tmp_path)
    assert result.keys == ["numerics"]
    sizes = [(entry.label, len(entry.runs)) for entry in result.groups]
    assert sizes == [("numerics=1", 1), (f"numerics={NUMERICS}", 2)]
    assert grouping(tmp_path, by=["norm"]).keys == ["norm", "numerics"]
