"""Runs with fixed seeds reproduce the stored traces bit for bit."""

import json

import golden
import pytest

from normexp import NUMERICS
from tests.conftest import SHARED_DATA

RENEW = (
    "If this change is meant to alter the arithmetic, raise NUMERICS in normexp/__init__.py, run `python scripts/golden.py`, "
    "look at the difference it makes to tests/training/golden, and say in the commit what altered it. Otherwise it has a bug."
)


@pytest.mark.parametrize("case", golden.CASES)
def test_golden_trace(case):
    if {"data=mnist", "data=cifar10"} & set(golden.CASES[case]) and not (SHARED_DATA / "MNIST").is_dir():
        pytest.skip("needs MNIST and CIFAR-10: set NORMEXP_DATA_DIR to a folder that has them")
    before = json.loads((golden.FOLDER / f"{case}.json").read_text(encoding="utf-8"))
    assert before["numerics"] == NUMERICS, RENEW
    now = golden.trace(golden.config(case, str(SHARED_DATA)))
    steps = [entry["step"] for entry in before["entries"]]
    assert [entry["step"] for entry in now["entries"]] == steps, RENEW
    if golden.machine() == before["machine"]:
        for old, new in zip(before["entries"], now["entries"], strict=True):
            assert new == old, f"{case}, step {old['step']}: not the same bits as before. {RENEW}"
        assert now["weights"] == before["weights"], RENEW
    else:  # rounding differs, and training makes small differences large: the first steps alone can be compared
        for old, new in zip(before["entries"][:3], now["entries"][:3], strict=True):
            values = {tag: value for tag, value in old.items() if tag != "all"}
            assert {tag: new[tag] for tag in values} == pytest.approx(values, rel=0.02, abs=0.01), RENEW
    # Chance is 0.1: whatever the machine, the default run learns.
    if case == "default":
        assert now["entries"][-1]["test/accuracy"] > 0.95
