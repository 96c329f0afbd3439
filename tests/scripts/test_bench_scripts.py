"""Benchmarks: the shortest run of each writes its rows, and the shared arithmetic is right."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys

import measuring
import pytest
from measuring import Row

from tests.conftest import ROOT, SHARED_DATA, needs_data

ROWS = {
    "loop": ["mlp 784-100x3, MNIST", "cnn, digits", "cnn, MNIST", "resnet 20, CIFAR-10 augmented"],
    "evaluation": [
        "evaluation over a bare pass: mlp",
        "evaluation over a bare pass: cnn",
        "evaluation over a bare pass: resnet",
        "share of evaluations: normexp train",
    ],
    "start": [
        "first step, digits",
        "first step, MNIST mlp",
        "normexp --help",
        "normexp train --help",
        "normexp train --cfg job",
        "completion of a key",
        "completion of a value",
    ],
    "memory": ["mlp, MNIST"],
    "job": [
        "times faster than Lightning",
        "the same, if Lightning left out its test",
        "normexp",
        "Lightning, 0 workers",
        "Lightning, 2 workers",
    ],
}


SLOW = ("loop", "evaluation")


def bench(name, *words):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "bench" / f"{name}.py", "--quick", f"--data-dir={SHARED_DATA}", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@needs_data
@pytest.mark.long
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in ROWS])
def test_a_benchmark_has_its_rows(name, tmp_path):
    if name == "job" and importlib.util.find_spec("lightning") is None:
        pytest.skip("needs Lightning, from the extra `bench`: run `make bench` first")
    done = bench(name, f"--json={tmp_path / 'numbers'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["numbers"]  # nothing else is left
    written = json.loads((tmp_path / "numbers" / f"{name}.json").read_text())
    assert written["quick"] is True
    assert {"processor", "cpus", "threads", "torch", "python"} <= written["machine"].keys()
    assert len(written["rows"]) == len(ROWS[name])
    for row, start in zip(written["rows"], ROWS[name], strict=True):
        low, high = row["quartiles"]
        assert row["what"].startswith(start)
        assert low <= row["measured"] <= high
        assert start in done.stdout
        assert row["met"] is None or row["goal"]


def test_without_lightning_the_job_is_left_out(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['lightning'] = None\n")
    words = [sys.executable, ROOT / "scripts" / "bench" / "job.py", "--json", tmp_path / "job.json"]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert "'.[bench]' brings it" in done.stderr
    assert not (tmp_path / "job.json").exists()


def test_a_folder_that_is_missing_is_refused_before_anything_is_measured(tmp_path):
    done = bench("memory", f"--json={tmp_path / 'missing' / 'memory.json'}")
    assert done.returncode == 2
    assert "does not exist" in done.stderr.splitlines()[-1]


def test_rounds_alternate_and_the_first_is_left_out():
    order = []

    def side(name):
        return lambda: order.append(name) or float(len(order))

    rounds = measuring.alternate([side("a"), side("b")], 2)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert rounds == [(3.0, 4.0), (6.0, 5.0)]


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("x", [1.0, 1.04, 9.0], 1.05), True),
        (Row("x", [1.0, 1.06, 1.06], 1.05), False),
        (Row("x", [4.9], 5.0, at_least=True), False),
        (Row("x", [5.0], 5.0, at_least=True), True),
        (Row("x", [5.0]), None),
    ],
)
def test_the_median_decides_whether_a_goal_is_met(row, met):
    assert row.summary()["met"] is met


def test_quartiles_lie_between_the_values():
    assert measuring.quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)


def test_numbers_go_to_a_file_or_into_a_folder(tmp_path):
    assert measuring.json_file(tmp_path / "a.json", "bench_x") == tmp_path / "a.json"
    assert measuring.json_file(tmp_path / "new", "bench_x") == tmp_path / "new" / "bench_x.json"
    arguments = argparse.Namespace(quick=False, json=tmp_path / "a.json")
    measuring.finish("t", [Row("x", [2.0], unit="s", more={"threads": 2})], arguments, device="cpu")
    written = json.loads((tmp_path / "a.json").read_text())
    assert (written["device"], written["rows"][0]["threads"], written["rows"][0]["unit"]) == ("cpu", 2, "s")
