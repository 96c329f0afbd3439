"""Ratios of made-up times, and their JSON and table."""

import json
from dataclasses import replace

from rich.console import Console

from normexp.bench.cases import Skipped
from normexp.bench.results import CaseResult, Costs, to_json
from normexp.bench.table import print_results

NONE = Costs(
    parameters=100,
    saved_bytes=1000,
    seconds={"forward": [1.0, 2.0, 4.0], "backward": [2.0, 2.0, 2.0], "inference": [1.0, 1.0, 2.0], "folded": []},
)
BN = Costs(
    parameters=116,
    saved_bytes=2500,
    folded_norms=3,
    seconds={
        "forward": [1.5, 2.0, 8.0],
        "backward": [3.0, 3.0, 3.0],
        "inference": [2.0, 3.0, 8.0],
        "folded": [1.0, 1.0, 2.0],
    },
)
MEASURED = CaseResult("mlp", "mnist", 8, "cpu", 1, (4, 9), {"none": NONE, "bn": BN}, (1, 28, 28))
SKIPPED = [Skipped("mlp", "in", size, "It [can't] work.") for size in (8, 16)]


def test_ratios_are_those_of_pairs_measured_in_one_round():
    """Not the ratio of the medians: 2 / 2 would say that the norm costs nothing."""
    ratios = MEASURED.ratio("bn", "forward")
    assert (ratios.low, ratios.median, ratios.high) == (1.25, 1.5, 1.75)
    assert ratios.half_range == 0.25
    assert MEASURED.ratio("gn", "forward") is None


def test_folded_inference_is_compared_with_inference():
    assert MEASURED.ratio("bn", "folded").median == 1.0
    assert MEASURED.ratio("none", "folded") is None
    assert MEASURED.memory("bn") == 2.5


def test_json():
    text = to_json([MEASURED], SKIPPED, {"overrides": ["model=mlp"], "environment": {"cpus": 2}})
    content = json.loads(text)
    assert content["overrides"] == ["model=mlp"]
    assert content["environment"] == {"cpus": 2}
    none, bn = content["measured"]
    assert none["phases"]["forward"] == {
        "ms": 2000,
        "ms_quartiles": [1500, 3000],
        "ratio": 1,
        "ratio_quartiles": [1, 1],
    }
    assert bn["phases"]["forward"]["ratio_quartiles"] == [1.25, 1.75]
    assert (bn["parameters_added"], bn["saved_bytes"], bn["saved_ratio"]) == (16, 2500, 2.5)
    assert "folded" not in none["phases"]
    assert content["skipped"][1] == {"model": "mlp", "norm": "in", "batch_size": 16, "reason": "It [can't] work."}


def test_table(capsys):
    print_results(Console(width=80), [MEASURED], SKIPPED, repeats=3, machine="a machine")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mlp on mnist (1x28x28), 1 thread"
    assert lines[2].split() == ["8", "none", "2000", "ms", "2000", "ms", "1000", "ms", "0.977", "KiB"]
    assert lines[3].split() == ["bn", "1.50", "±0.25", "1.50", "±0.00", "3.00", "±0.50", "1.00", "±0.00", "2.50"]
    assert lines[4] == "100 parameters without a norm, bn +16"
    assert lines[-2] == "skipped  mlp, in, batch 8, 16: It [can't] work."
    assert max(map(len, lines)) <= 80
    assert not any("vary a lot" in line for line in lines)
    busy = replace(BN, seconds={**BN.seconds, "forward": [1.0, 2.0, 40.0], "folded": []})
    noisy = replace(MEASURED, costs={"none": NONE, "bn": busy})
    print_results(Console(width=80), [noisy], [], repeats=3, machine="a machine")
    assert "vary a lot" in capsys.readouterr().out
