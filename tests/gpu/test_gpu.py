"""On a GPU: runs are the same to the last bit, and close to those on the CPU. The checks are those of scripts/gpu_check.py."""

import time

import pytest
import torch
from parts import Part
from run_part import PARTS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
    pytest.mark.filterwarnings("ignore"),  # what torch says to itself when it compiles
    pytest.mark.xdist_group("gpu"),
]

CHECKS = ["determinism", "resume", "combinations", "probes", "sweep", "compiled combinations"]


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_passes(name, tmp_path):
    part = Part("cuda", True, time.monotonic() + 300, tmp_path / "results")
    PARTS[name](part)
    assert part.rows
    assert [row for row in part.rows if row["state"] != "ok"] == []
