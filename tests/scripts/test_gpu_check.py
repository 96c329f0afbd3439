"""scripts/gpu_check.py without a GPU: its dry run, and parts that hang or die."""

import json
import os
import subprocess
import sys

import agreement
import gpu_check
import parts
import pytest
import reproducibility
import torch
from run_part import PARTS

from tests.conftest import ROOT

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU would do the work")

DRY_PARTS = ["device", "determinism", "combinations", "probes", "throughput", "formats"]


def test_every_part_has_a_limit_and_the_limits_leave_time_for_compiling():
    assert gpu_check.LIMITS.keys() == PARTS.keys()
    assert gpu_check.BUDGET_SECONDS <= 480
    assert gpu_check.BUDGET_SECONDS - sum(limit or 0 for limit in gpu_check.LIMITS.values()) >= 30
    open_ended = [name for name, limit in gpu_check.LIMITS.items() if limit is None]
    assert open_ended == list(gpu_check.LIMITS)[-len(open_ended) :]


@pytest.mark.parametrize("case", reproducibility.RUNS)
def test_runs_that_the_dry_run_leaves_out_have_valid_configs(case):
    assert reproducibility.run_config(reproducibility.RUNS[case], "cpu").steps == 12


@needs_no_gpu
@pytest.mark.long
def test_the_dry_run_runs_every_part_and_writes_one_file(tmp_path):
    words = [sys.executable, ROOT / "scripts" / "gpu_check.py", "--parts", *DRY_PARTS, "--json", tmp_path / "gpu.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("torch sees no GPU here: this is a dry run")
    assert done.stdout.endswith("all parts are ok\n")
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written.keys() == {"machine", "gpu", "quick", "parts"}
    assert (written["gpu"], written["quick"]) == (False, True)
    assert [part["part"] for part in written["parts"]] == DRY_PARTS
    for part in written["parts"]:
        assert part.keys() == {"part", "state", "seconds", "rows", "last_lines"}
        assert (part["state"], part["last_lines"]) == ("ok", [])
        assert part["rows"]
        for row in part["rows"]:
            assert row.keys() == {"what", "state", "value", "unit", "detail"}
            assert row["state"] in ("ok", "measured")
            assert row["value"] is None or row["value"] >= 0
    assert {row["state"] for part in written["parts"] for row in part["rows"]} == {"ok", "measured"}


def test_a_part_that_hangs_or_dies_is_a_result(capsys):
    hung = gpu_check.run_part("device", "cpu", limit=0.2, quick=True)
    assert (hung["state"], hung["rows"]) == ("timed out", [])
    if torch.cuda.is_available():
        return
    died = gpu_check.run_part("device", "cuda", limit=100, quick=True)
    assert died["state"] == "died"
    assert "CUDA" in died["last_lines"][-1]
    gpu_check.show([hung, died], "title")
    printed = capsys.readouterr().out
    assert "timed out, 0 s" in printed
    assert "not compiled with CUDA" in printed or "NVIDIA driver" in printed


def test_an_error_in_a_case_is_a_result_and_after_the_deadline_nothing_starts(tmp_path):
    part = parts.Part("cpu", True, parts.time.monotonic() + 100, tmp_path / "results")
    part.attempt("a", lambda: part.record("a", "measured", value=2.0, unit="s"))
    part.attempt("b", lambda: 1 / 0)
    part.deadline = 0
    part.attempt("c", lambda: part.record("c", "ok"))
    assert [(row["what"], row["state"]) for row in part.rows] == [("a", "measured"), ("b", "failed"), ("c", "left out")]
    assert [json.loads(line) for line in (tmp_path / "results").read_text().splitlines()] == part.rows


@pytest.mark.parametrize(
    ("expected", "actual", "within"),
    [(1.0, 1.01, True), (1.0, 1.1, False), (0.0, 0.001, True), (None, None, True), (None, 0.0, False)],
)
def test_numbers_of_probes_within_their_bounds(expected, actual, within):
    assert (agreement.share_of_bound(expected, actual) <= 1) is within
