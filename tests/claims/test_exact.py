"""Exact claims: their rules hold or fail as documented."""

import math
import subprocess
import sys

import pytest
import torch

from normexp.claims.exact import (
    EXACT,
)
from normexp.config import yaml_files
from tests.claims.exact_claims import claim, computed, failing

FAILING: dict[str, set[str]] = {
    "formula": set(),
    "unit-moments": {"skewness", "kurtosis"},
    "identity": set(),
    "axes": set(),
    "worked-example": set(),
    "gradient-flows": set(),
    "bias-cancelled": set(),
    "scale-law": set(),
    "detached-stats": set(),
    "inference-statistics": set(),
    "fold": {"operations_left"},
    "dropout-scale": set(),
    "gradient-growth": {"growth", "growth_scaled", "growth_linear"},
    "batch-estimate": set(),
    "weight-decay-is-lr": set(),
    "style": set(),
    "rank-collapse": set(),
    "nearly-symmetric": set(),
}
"""The measures of each claim whose conditions fail with every seed. Any of them refutes the claim."""


def test_every_exact_claim_has_its_file():
    assert EXACT.keys() == FAILING.keys()
    assert {name for name in yaml_files.choices("claim") if claim(name).kind == "exact"} == set(EXACT)


@pytest.mark.parametrize("name", EXACT)
def test_verdict(name):
    for seed in claim(name).seeds:
        result = computed(name, seed)
        assert failing(name, dict(result.numbers)) == FAILING[name]
        assert result.numbers.keys() == computed(name, claim(name).seeds[0]).numbers.keys()
        assert all(math.isfinite(number) for number in result.numbers.values())
        assert result.tables
        for table in result.tables:
            assert table.rows
            assert {len(row) for row in table.rows} == {len(table.columns)}
            assert all(math.isfinite(v) for row in table.rows for v in row if not isinstance(v, str))


@pytest.mark.parametrize("name", EXACT)
def test_the_same_seed_gives_the_same_numbers_and_leaves_nothing_behind(name):
    first, *_, last = claim(name).seeds
    before = computed(name, first)
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert EXACT[name].compute(first) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert before != computed(name, last)


def test_the_drawing_of_the_axes():
    drawing = computed("axes", 201).drawing
    assert drawing is not None
    lines = drawing.splitlines()
    assert max(map(len, lines)) <= 78
    # The fronts of the four cubes: the last channel, all channels, the last channel, the last two of them.
    assert lines[6].count("| . . . # |") == 2
    assert lines[6].count("| # # # # |") == lines[6].count("| . . # # |") == 1


def test_claims_are_listed_without_torch():
    check = (
        "import sys; from normexp.cli import main; main(['claims']); "
        "print([n for n in ('torch', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "higher-lr" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
