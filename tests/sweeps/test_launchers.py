"""Optional launchers and sweepers: Slurm, Ray and Optuna."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from normexp import rundir
from normexp.cli import main
from normexp.sweeps import optuna_study, slurm
from normexp.sweeps.manifest import read_manifest
from tests.commands.shell import start
from tests.sweeps.sweeping import SHORT, begin, stamps, states, wait_for

# Optuna 2 and SQLAlchemy 1 are the last that Hydra's sweeper works with; both warn of what later versions change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Deprecated API features detected", "ignore::DeprecationWarning:optuna", "ignore::FutureWarning"
)


def has_slurm():
    if shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo", "--noheader"], capture_output=True, check=False).returncode == 0


needs_slurm = pytest.mark.skipif(not has_slurm(), reason="needs a Slurm cluster: sinfo does not answer")


@needs_slurm
def test_slurm_jobs_outlive_their_command_and_the_same_command_picks_them_up():
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = ["-m", *SHORT, "hydra/launcher=slurm", "norm=none,bn,ln", "steps=1200", "name=s"]
    process = begin(*words)
    wait_for(lambda: "running" in states("runs/s").values(), 120)
    time.sleep(2.0)
    process.kill()
    output, _ = process.communicate()
    assert "submitted 3 Slurm jobs" in output
    (job,) = {job.split("_")[0] for job in read_manifest(Path("runs/s"))["slurm"]}
    assert f"to cancel: scancel {job}" in output
    assert f"scancel {job}" in start("runs").stdout
    done = start("train", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "submitted" in done.stdout
    assert list(states("runs/s").values()) == ["completed"] * 3
    logs = [path.read_text() for path in Path("runs/s").glob("*/train.log")]
    assert all(log.count("parameters, device=cpu") == 1 for log in logs)  # each was trained once


@needs_slurm
def test_a_slurm_job_that_is_cancelled_stops_nothing_and_is_made_up_for():
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = ["-m", *SHORT, "hydra/launcher=slurm", "seed=0,1,2", "steps=1200", "name=s"]
    process = begin(*words)
    jobs = wait_for(lambda: (read_manifest(Path("runs/s")) or {}).get("slurm") if Path("runs/s").exists() else None)
    wait_for(lambda: "running" in states("runs/s").values(), 120)
    subprocess.run(["scancel", max(jobs)], check=True)
    output, _ = process.communicate(timeout=180)
    assert list(states("runs/s").values()).count("completed") == 2
    assert "1 left" in output
    done = start("train", *words)
    assert done.returncode == 0
    assert list(states("runs/s").values()) == ["completed"] * 3


@pytest.mark.long
def test_jobs_are_recorded_and_waited_for_even_if_the_launcher_never_returns(tmp_path, monkeypatch):
    """squeue is faked, and lists the jobs three times."""
    calls, over = tmp_path / "calls", threading.Event()
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho >> {calls}\n[ $(wc -l < {calls}) -gt 3 ] || echo '17_0\n17_1'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, state in (("a", "completed"), ("b", "running")):
        (tmp_path / name).mkdir()
        rundir.write_status(tmp_path / name, state)

    def launch():
        for job in ("17_0", "17_1"):
            (tmp_path / ".submitit" / job).mkdir(parents=True)
            (tmp_path / ".submitit" / job / f"{job}_submitted.pkl").touch()
        over.wait()  # as submitit does for a job that is cancelled before it begins

    said = []
    slurm.submit_and_wait(tmp_path, ["a", "b"], launch, said.append)
    over.set()
    assert read_manifest(tmp_path)["slurm"] == {"17_0": "a", "17_1": "b"}
    assert "submitted 2 Slurm jobs" in said[0]
    assert states(tmp_path) == {"a": "completed", "b": "killed"}


def test_ray():
    pytest.importorskip("hydra_plugins.hydra_ray_launcher._core")
    process = begin("-m", *SHORT, "hydra/launcher=ray", "norm=none,bn", "steps=5", "name=s")
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert list(states("runs/s").values()) == ["completed"] * 2


def test_an_extra_that_is_not_installed_is_named(capsys):
    code = (
        "import sys; sys.modules['hydra_plugins.hydra_submitit_launcher'] = None;"
        "sys.modules['hydra_plugins.hydra_submitit_launcher.config'] = None;"
        "from normexp.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["train", "-m", "hydra/launcher=slurm", "seed=0,1"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'normexp[slurm]'" in done.stderr
    assert main(["train", "-m", "hydra/launcher=nothing", "seed=0,1"]) == 2
    assert "hydra/launcher" in capsys.readouterr().err


OPTUNA = [
    *("train", "-m", *SHORT, "jobs=1", "steps=10", "name=s", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4"),
    *("hydra.sweeper.sampler.seed=1", "norm=choice(none,bn)", "lr=tag(log,interval(0.01,1))"),
]


@pytest.mark.long
def test_optuna_makes_as_many_trials_as_asked_for_and_goes_on(capsys):
    import optuna

    def trials():
        return optuna.load_study(study_name=optuna_study.STUDY_NAME, storage="sqlite:///runs/s/study.db").get_trials()

    assert main(OPTUNA) == 0
    first = stamps("runs/s")
    assert len(first) == len(trials()) == 4
    values = {trial.value for trial in trials()}
    assert all(0 < value <= 1 for value in values)
    assert "4 runs: 4 completed" in capsys.readouterr().out

    assert main(OPTUNA) == 0  # n_trials is how many there are to be, not how many more
    assert stamps("runs/s") == first
    more = [word.replace("n_trials=4", "n_trials=6") for word in OPTUNA]
    assert main(more) == 0
    assert len(stamps("runs/s")) == 6  # other values than the first ones, with the same seed
    assert {name: stamp for name, stamp in stamps("runs/s").items() if name in first} == first


@pytest.mark.long
def test_optuna_needs_a_search_space(capsys):
    pytest.importorskip("optuna")
    assert main(["train", "-m", "hydra/sweeper=optuna", "lr=0.1"]) == 2
    assert "An optimizer needs a search space" in capsys.readouterr().err
    for norm in ("bn,gn", "glob(*)", "choice(gn,ln)"):
        assert main(["train", "-m", "hydra/sweeper=optuna", f"norm={norm}", "norm.groups=interval(1,4)"]) == 2
        said = "norm.groups is a key of norm=gn and norm=evonorm only, but an optimizer would also set it"
        assert said in capsys.readouterr().err
    assert main(["train", "-m", "hydra/sweeper=optuna", "norm=gn", "norm.groups=2,4", "--dry-run"]) == 0
    assert not Path("runs").exists()


@pytest.mark.long
def test_optuna_does_not_count_the_trials_of_a_version_whose_numbers_differ(monkeypatch):
    import optuna

    words = [word.replace("n_trials=4", "n_trials=2") for word in OPTUNA]
    with monkeypatch.context() as patch:
        patch.setattr(optuna_study, "STUDY_NAME", "normexp")  # that of version 0.1
        assert main(words) == 0
    assert main(words) == 0
    for name in ("normexp", optuna_study.STUDY_NAME):
        assert len(optuna.load_study(study_name=name, storage="sqlite:///runs/s/study.db").get_trials()) == 2


@pytest.mark.long
def test_optuna_keeps_its_study_in_a_folder_of_any_name(capsys, monkeypatch):
    folder = Path("what? #1 100%41 {x}")
    folder.mkdir()
    monkeypatch.chdir(folder)
    words = [word.replace("n_trials=4", "n_trials=2") for word in OPTUNA]
    assert main(words) == 0
    first = stamps("runs/s")
    assert len(first) == 2
    assert Path("runs/s/study.db").is_file()
    assert [path.name for path in Path("..").iterdir()] == [folder.name]
    assert main(words) == 0
    assert stamps("runs/s") == first


@pytest.mark.long
def test_an_optimizer_that_makes_no_trials_is_not_asked_for_ever(capsys, monkeypatch):
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

    asked = []

    def sweep(self, arguments):
        asked.append(arguments)
        assert len(asked) < 5

    monkeypatch.setattr(OptunaSweeper, "sweep", sweep)
    assert main(OPTUNA) == 2
    assert len(asked) == 1
    assert "No trial finished" in capsys.readouterr().err


@pytest.mark.long
def test_optuna_tries_the_trials_of_a_killed_command_again_and_loses_none(capsys):
    import optuna

    assert main(OPTUNA) == 0
    study = optuna.load_study(study_name=optuna_study.STUDY_NAME, storage="sqlite:///runs/s/study.db")
    trial = study.ask()  # what a killed command leaves behind
    params = {
        "norm": trial.suggest_categorical("norm", ["none", "bn"]),
        "lr": trial.suggest_loguniform("lr", 0.01, 1),
    }
    assert main([word.replace("n_trials=4", "n_trials=5") for word in OPTUNA]) == 0
    trials = optuna.load_study(study_name=optuna_study.STUDY_NAME, storage="sqlite:///runs/s/study.db").get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4 + ["FAIL", "COMPLETE"]
    assert trials[-1].params == params
    assert len(states("runs/s")) == 5


@pytest.mark.long
def test_a_trial_that_diverges_or_can_not_be_trained_has_the_worst_value(capsys):
    import optuna

    words = ["train", "-m", *SHORT, "jobs=1", "steps=5", "name=s", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4"]
    assert main([*words, "model=mlp", "norm=choice(in,none)", "lr=choice(1e30,0.1)", "objective=val/loss"]) == 0
    study = optuna.load_study(study_name=optuna_study.STUDY_NAME, storage="sqlite:///runs/s/study.db")
    assert study.direction.name == "MINIMIZE"
    for trial in study.get_trials():
        if trial.params["norm"] == "in" or trial.params["lr"] > 1:
            assert trial.value == float("inf")
        else:
            assert 0 < trial.value < 10


def test_nothing_of_the_test_set_is_an_objective(capsys):
    assert main([*OPTUNA, "objective=test/accuracy"]) == 2
    assert "objective is one of val/accuracy" in capsys.readouterr().err
