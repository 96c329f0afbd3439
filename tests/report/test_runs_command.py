"""`normexp runs`."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.report.listing import age
from normexp.rundir import process
from tests.report.runs import make_run, make_sweep

NOW = datetime.now(UTC)

JOBS = {"11_0": "norm=none_lr=0.1_seed=0", "12_0": "one", "12_1": "two", "13": "three"}


def listed(capsys, *words):
    """Exit code, lines of standard output, standard error."""
    code = main(["runs", *words])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def ago(**time):
    return {"started": (datetime.now(UTC) - timedelta(**time)).isoformat(timespec="seconds")}


def test_runs_and_sweeps_newest_first(capsys):
    make_run(Path("runs"), name="old", norm="bn", accuracy=0.9555, status=ago(days=2, hours=1))
    make_run(Path("runs"), name="new", norm="ln", state="diverged", accuracy=None, status=ago(minutes=3, seconds=5))
    make_run(Path("runs"), name="stopped", norm="gn", state="interrupted", accuracy=0.5, status=ago(hours=5, minutes=1))
    make_sweep(Path("runs/sweep"), {("none", 0.1): [0.5, 0.6], ("bn", 0.1): [0.97, None]})
    make_run(Path("runs/sweep"), norm="ln", state="killed", status={"state": "skipped", "error": "no"})
    Path("runs/notes").mkdir()
    make_run(Path("runs/.hidden"))
    code, lines, err = listed(capsys)
    assert (code, err) == (0, "")
    assert lines[0].split() == ["state", "age", "norm", "model", "data", "test", "accuracy", "path"]
    assert [" ".join(line.split()) for line in lines[1:4]] == [
        "diverged 3 min ln mlp digits - runs/new",
        "interrupted 5 h gn mlp digits val 50.00 % runs/stopped",
        "completed 2 days bn mlp digits 95.55 % runs/old",
    ]
    assert lines[4].endswith(" runs/sweep")
    assert "3 of 4 completed, 1 diverged, 1 skipped" in lines[4]
    assert "none,bn,ln  mlp    digits  97.00 % (best val)" in lines[4]
    assert "report       normexp report runs/sweep" in lines


def test_a_sweep_lists_its_runs_and_a_run_itself(capsys):
    make_sweep(Path("runs/sweep"), {("none", 10.0): [0.5, 0.6], ("none", 2.0): [0.97]})
    _, lines, _ = listed(capsys, "runs/sweep")
    names = [line.rsplit("/", 1)[-1] for line in lines[1:4]]
    assert names == ["norm=none_lr=2.0_seed=0", "norm=none_lr=10.0_seed=0", "norm=none_lr=10.0_seed=1"]
    assert "report       normexp report runs/sweep" in lines
    _, lines, _ = listed(capsys, "runs/sweep/norm=none_lr=2.0_seed=0")
    assert "97.00 %" in lines[1]


def test_running_runs_show_progress_and_host(capsys):

    make_run(Path("runs"), name="here", state="running", status={**process.identity(), "step": 15, "total_steps": 60})
    make_run(Path("runs"), name="there", state="running", status={"host": "node7", "step": 30, "total_steps": 60})
    make_run(Path("runs"), name="gone", state="running", status={"pid": 2**22 + 1})
    _, lines, _ = listed(capsys)
    states = {line.rsplit("/", 1)[-1]: line for line in lines[1:4]}
    assert states["here"].startswith("running, 25 %  ")
    assert states["there"].startswith("running, 50 % on node7  ")
    assert states["gone"].startswith("killed  ")


def test_jobs_of_slurm_and_a_sweep_that_has_not_begun(capsys):
    make_sweep(Path("runs/a"), {("none", 0.1): [0.5]})
    Path("runs/a/sweep.json").write_text(json.dumps({"format": 1, "slurm": JOBS}))
    Path("runs/b").mkdir()
    Path("runs/b/sweep.json").write_text(json.dumps({"format": 1, **ago(minutes=1)}))
    Path("runs/c").mkdir()
    Path("runs/c/sweep.json").write_text("{")
    _, lines, _ = listed(capsys)
    assert any(line.startswith("no runs started  1 min") and line.endswith("runs/b") for line in lines)
    assert "    3 Slurm jobs pending or running; to cancel: scancel 12 13" in lines
    assert not any("runs/c" in line for line in lines)


def test_damaged_and_unusual_runs(capsys):
    make_run(Path("runs"), name="good", model="cnn", status={"started": "some day"})
    (make_run(Path("runs"), name="bad") / "status.json").write_text("[]")
    (make_run(Path("runs"), name="bare") / "config.yaml").unlink()
    _, lines, _ = listed(capsys)
    assert "2 unreadable" in lines
    assert "  runs/bad: its status.json is damaged." in lines
    assert sum("completed" in line for line in lines) == 2


def test_many_values_are_several(capsys):
    make_sweep(Path("runs/s"), {(f"norm{number}", 0.1): [0.5] for number in range(6)})
    assert "several" in listed(capsys)[1][1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere does not exist. Name the folder of your runs"),
        ([], "runs does not exist. Name the folder of your runs; normexp train creates runs/ by default."),
        (["file"], "file is not a folder."),
        (
            ["full", "--sort", "nrm"],
            "can be sorted by age, state, accuracy, path, norm, model, data or a config key. Did you mean norm?",
        ),
        (["full", "--sort", "learning_rate"], "Did you mean lr?"),
        (["full", "--filter", "norm=bm", "--json"], "--filter norm=bm: norm is always bn."),
        (["full", "--sort"], "--sort must be followed by a value"),
        (["a", "b"], "normexp runs takes one folder, not 2"),
        (["--hlep"], "--hlep. Did you mean --help?"),
    ],
)
def test_user_errors_print_one_sentence(capsys, words, sentence):
    Path("file").touch()
    make_run(Path("full"), norm="bn")
    code, lines, err = listed(capsys, *words)
    assert (code, lines) == (2, [])
    assert sentence in err
    assert err.startswith("normexp: ") and err.count("\n") == 1


def test_an_empty_folder_is_a_sentence(capsys):
    Path("runs").mkdir()
    assert listed(capsys)[:2] == (0, ["No runs in runs yet; normexp train creates one."])


def test_sorting_and_filtering(capsys):
    make_run(Path("runs"), name="a10", norm="bn", accuracy=0.9, status=ago(days=1))
    make_run(Path("runs"), name="a9", norm="none", state="failed", accuracy=None, status=ago(hours=1), lr=0.3)
    make_sweep(Path("runs/sweep"), {("ln", 0.1): [0.5, 0.95]})

    def paths(*words):
        code, lines, err = listed(capsys, *words)
        assert (code, err) == (0, "")
        return [line.rsplit("/", 1)[-1] for line in lines[1 : lines.index("")]]

    assert paths() == ["a9", "a10", "sweep"]
    assert paths("--sort", "path") == ["a9", "a10", "sweep"]
    assert paths("--sort", "accuracy") == ["sweep", "a10", "a9"]
    assert paths("--sort", "norm") == ["a10", "sweep", "a9"]
    assert paths("--sort", "lr") == ["a10", "sweep", "a9"]
    assert paths("--sort=state", "runs") == ["sweep", "a10", "a9"]
    assert paths("--filter", "norm=bn,ln") == ["a10", "sweep"]
    assert paths("--filter", "norm=bn,ln", "--filter", "seed=1") == ["sweep"]
    assert paths("--filter", "state=failed") == ["a9"]
    (sweep,) = [line for line in listed(capsys, "--filter", "seed=0")[1] if line.endswith("runs/sweep")]
    assert sweep.startswith("1 completed ") and " 50.00 % (best val) " in sweep


def test_json_for_another_program(capsys):
    make_run(Path("runs"), name="stopped", norm="gn", state="interrupted", accuracy=0.5, status=ago(hours=5))
    make_sweep(Path("runs/sweep"), {("none", 0.1): [0.5, 0.6], ("bn", 0.1): [0.97, None]})
    (make_run(Path("runs"), name="bad") / "status.json").write_text("{")
    code, lines, _ = listed(capsys, "--json", "--sort", "path")
    assert code == 0
    content = json.loads("\n".join(lines), parse_constant=pytest.fail)
    stopped, sweep = content["entries"]
    assert (stopped["path"], stopped["kind"], stopped["state"]) == ("runs/stopped", "run", "interrupted")
    assert (stopped["norm"], stopped["test/accuracy"], stopped["val/accuracy"]) == (["gn"], None, 0.5)
    assert datetime.fromisoformat(stopped["started"]) < NOW - timedelta(hours=4)
    assert (sweep["kind"], sweep["runs"], sweep["states"]) == ("sweep", 4, {"completed": 3, "diverged": 1})
    assert (sweep["norm"], sweep["test/accuracy"]) == (["bn", "none"], 0.97)
    assert content["left_out"] == ["runs/bad: its status.json is damaged."]


def test_ages():
    spans = {59: "now", -5: "now", 60: "1 min", 3599: "59 min", 3600: "1 h", 86400: "1 day", 200000: "2 days"}
    assert {seconds: age(NOW, NOW + timedelta(seconds=seconds)) for seconds in spans} == spans


def test_a_closed_pipe_ends_it_quietly():
    make_sweep(Path("runs"), {("none", float(lr)): [0.5] for lr in range(1, 300)})
    command = f"{sys.executable} -m normexp runs | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert (done.stdout.split()[0], done.stderr) == ("state", "")
