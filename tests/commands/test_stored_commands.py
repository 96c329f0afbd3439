"""`normexp resume SWEEP` with a foreign sweep.json: nothing outside of the folder is written or run."""

import json
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.sweeps import slurm


def store(*words, folder="runs/s", **more):
    Path(folder).mkdir(parents=True)
    manifest = {"format": 1, "name": "s", "arguments": [list(words)], "cwd": str(Path.cwd()), **more}
    Path(folder, "sweep.json").write_text(json.dumps(manifest))


@pytest.fixture
def given(monkeypatch):
    """The overrides or arguments of the commands that would be run."""
    found = []

    def remember(words, **rest):
        found.append(words)
        return 0

    monkeypatch.setattr("normexp.sweeps.run_sweep.run_sweep", remember)
    monkeypatch.setattr("normexp.commands.claims.main", remember)
    return found


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["claims", "report", "--html", "victim"], "claims report"),
        (["claims"], "claims"),
        (["claims", "show", "bn"], "claims show"),
        (["claims", "run", "worked-example", "--html", "victim"], "--html"),
        (["claims", "run", "worked-example", "--again"], "--again"),
        (["claims", "run", "worked-example", "runs_dir=elsewhere"], "runs_dir=elsewhere"),
        (["claims", "run", "worked-example", "runs_dir=runs/claims/runs-1/.."], "runs_dir="),
        (["-m", "seed=0,1", "hydra.launcher.temp_folder=elsewhere"], "hydra.launcher.temp_folder"),
        (["-m", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.setup=[touch victim]"], "hydra.launcher.setup"),
        (["-m", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition='a\nb'"], "hydra.launcher.partition"),
        (["-m", "seed=0,1", "hydra.sweeper.custom_search_space=os.abort"], "hydra.sweeper.custom_search_space"),
        (["-m", "seed=0,1", "hydra.sweeper.sampler={_target_:os.abort}"], "hydra.sweeper.sampler"),
        (["-m", "seed=0,1", "hydra/launcher=../../elsewhere"], "hydra/launcher"),
        (["-m", "seed=0,1", "hydra/launcher@hydra.job=joblib"], "hydra/launcher"),
    ],
    ids=lambda value: " ".join(value[-2:]).replace("\n", " ") if isinstance(value, list) else "",
)
def test_a_stored_command_that_may_harm_is_refused(words, refused, given, capsys):
    claims = words[0] == "claims"
    folder = "runs/claims/runs-1" if claims else "runs/s"
    store(*words, folder=folder)
    Path("victim").write_text("mine")
    assert main(["resume", folder]) == 2
    said = capsys.readouterr().err
    assert f"sweep.json contains {refused}" in said
    assert "normexp claims" in said if claims else "normexp train -m seed=0,1" in said
    assert len(said.splitlines()) == 1
    assert not given
    assert Path("victim").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "seed=0,1", "lr=0.1", "data_dir=/data", "jobs=2", "experiment=lr-range"],
        ["-m", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=60"],
        [
            "-m",
            "lr=interval(0.1,1)",
            "hydra/sweeper=optuna",
            "hydra.sweeper.n_trials=5",
            "hydra.sweeper.sampler.seed=1",
        ],
    ],
    ids=["grid", "slurm", "optuna"],
)
def test_a_sweep_goes_on_in_its_folder(words, given, capsys):
    store(*words, "name=other", "runs_dir=elsewhere")
    assert main(["resume", "runs/s"]) == 0
    (overrides,) = given
    assert overrides == [*words[1:], "name='s'", f"runs_dir='{Path('runs').absolute()}'"]


@pytest.mark.parametrize(
    "words", [["worked-example", "--quick", "--scale", "full", "jobs=1"], ["all", "runs_dir=./runs"]]
)
def test_claims_are_run_again_where_they_are(words, given):
    store("claims", "run", *words, folder="runs/claims/runs-1")
    assert main(["resume", "runs/claims/runs-1"]) == 0
    assert given == [["run", *words]]


def test_slurm_jobs_of_a_stored_sweep_are_of_runs_inside_it():
    store("-m", "seed=0,1", slurm={"1": "seed=0", "2": "../victim", "3": "/victim", "4": "a/b", "5": "", "6": ".."})
    assert slurm.recorded_jobs(Path("runs/s")) == {"1": "seed=0"}


def test_a_sweep_is_resumed_with_other_jobs_and_another_data_folder(given, tmp_path, monkeypatch, capsys):
    store("-m", "seed=0,1", "jobs=1", "data_dir=old", "name=s", folder="runs/s")
    store("claims", "run", "worked-example", "jobs=1", folder="runs/claims/runs-1")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert main(["resume", f"{tmp_path}/runs/s", "jobs=2", "data_dir=data"]) == 0
    place = [f"data_dir='{tmp_path}/elsewhere/data'", "name='s'", f"runs_dir='{tmp_path}/runs'"]
    assert given.pop() == ["seed=0,1", "jobs=2", *place]
    assert main(["resume", f"{tmp_path}/runs/claims/runs-1", "jobs=2"]) == 0
    assert given.pop() == ["run", "worked-example", "jobs=2"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("lr=2", "only jobs, data_dir and tracker can be changed"),
        ("threads=2", "only jobs, data_dir and tracker can be changed"),
        ("jobs=1,2", "jobs=1,2: give jobs one value."),
        ("job=2", "Did you mean jobs?"),
        ("--dry-run", "resume does not accept --dry-run"),
    ],
)
def test_other_words_are_refused_for_a_sweep(word, says, given, capsys):
    store("-m", "seed=0,1")
    assert main(["resume", "runs/s", word]) == 2
    assert says in capsys.readouterr().err
    assert not given
