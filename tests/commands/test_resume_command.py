"""`normexp resume RUN`: resumed runs, refusals and output."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from normexp.cli import main
from normexp.rundir import lock, read_metrics, read_status, write_status
from normexp.training import checkpoint
from tests.sweeps.sweeping import SHORT, results, stamps

RUN = ["train", "steps=12", "data.train_size=200", "eval_every=6", "log_every=4", "checkpoint_every=5"]


@pytest.fixture
def stopped(monkeypatch):
    """Train, but stop in a step as if killed; returns the run's directory."""
    from normexp.training import trainer

    def arrange(*words, step=8):
        real = trainer.lr_factor

        def lr_factor(schedule, done, total):
            if done == step - 1:
                raise SystemExit
            return real(schedule, done, total)

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "lr_factor", lr_factor)
            with pytest.raises(SystemExit):
                main([*RUN, "name=x", *words])
        return Path("runs/x")

    return arrange


def numbers(directory):
    return [{tag: v for tag, v in entry.items() if "second" not in tag} for entry in read_metrics(directory)]


def test_a_run_goes_on_in_place(stopped, capsys):
    assert main([*RUN, "name=whole"]) == 0
    directory = stopped()
    capsys.readouterr()
    assert main(["resume", "runs/x"]) == 0
    printed = capsys.readouterr().out
    assert "resuming runs/x after step 5 of 12" in printed
    assert "run directory  runs/x" in printed
    assert numbers(directory) == numbers(Path("runs/whole"))
    assert yaml.safe_load((directory / "config_diff.yaml").read_text())["name"] == "x"


def test_a_run_without_a_checkpoint_begins_anew(stopped, capsys):
    directory = stopped("checkpoint_every=null")
    assert not list(directory.glob("checkpoint*"))
    capsys.readouterr()
    assert main(["resume", "runs/x", "norm=bn", "norm.eps=1e-5"]) == 0  # what it has anyway
    assert "training from scratch" in capsys.readouterr().out
    assert main([*RUN, "name=whole"]) == 0
    assert numbers(directory) == numbers(Path("runs/whole"))


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(stopped, capsys):
    directory = stopped(step=11)
    content = bytearray((directory / "checkpoint.pt").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(
        byte ^ 1 for byte in content[middle : middle + 200]
    )  # a single one may be padding
    (directory / "checkpoint.pt").write_bytes(content)
    capsys.readouterr()
    assert main(["resume", "runs/x"]) == 0
    printed = capsys.readouterr().out
    assert "Cannot use runs/x/checkpoint.pt" in printed
    assert "resuming runs/x after step 5" in printed
    assert main([*RUN, "name=whole"]) == 0
    assert numbers(directory) == numbers(Path("runs/whole"))


def test_what_is_done_stays_and_can_be_extended(capsys):
    main([*RUN, "name=x"])
    before = (Path("runs/x/metrics.jsonl").read_bytes(), Path("runs/x/status.json").read_bytes())
    capsys.readouterr()
    for words in ([], ["steps=12"], ["lr=0.1", "norm=bn", "norm.eps=1e-5"]):  # what it has anyway
        assert main(["resume", "runs/x", *words]) == 0
        assert "runs/x is completed: 12 steps, test accuracy" in capsys.readouterr().out
    assert (Path("runs/x/metrics.jsonl").read_bytes(), Path("runs/x/status.json").read_bytes()) == before
    assert main(["resume", "runs/x", "epochs=6", "threads=1"]) == 0  # instead of steps
    printed = capsys.readouterr().out
    assert "resuming runs/x after step 12 of 18" in printed
    assert "schedule=cosine is stretched" in printed
    config = yaml.safe_load(Path("runs/x/config.yaml").read_text())
    assert (config["epochs"], config["steps"], config["threads"]) == (6, None, 1)
    assert read_status(Path("runs/x"))["step"] == 18
    (resumed,) = json.loads(Path("runs/x/environment.json").read_text())["resumed"]
    assert resumed["command"] == ["normexp", "resume", "runs/x", "epochs=6", "threads=1"]


def test_an_extension_that_is_killed_is_still_one(stopped):
    main([*RUN, "name=x"])
    status = read_status(Path("runs/x"))
    kept = {key: status[key] for key in ("step", "seconds", "metrics", "started")}
    write_status(Path("runs/x"), state="interrupted", error=None, total_steps=18, **kept)
    config = yaml.safe_load(Path("runs/x/config.yaml").read_text())
    Path("runs/x/config.yaml").write_text(yaml.safe_dump({**config, "steps": 18}))
    assert main(["resume", "runs/x"]) == 0
    assert read_status(Path("runs/x"))["step"] == 18


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lr=0.2", "norm=ln"], "lr, norm: can't be changed on resume"),
        (["norm.eps=0.1"], "norm.eps: can't be changed on resume"),
        (["seed=1"], "seed: can't be changed on resume"),
        (["name=y"], "name: can't be changed on resume"),
        (["steps=11"], "not shorten it to 11 steps"),
        (["epochs=2"], "not shorten it to 6 steps"),
        (["epochs=0"], ">= 1"),
        (["epochs=20", "steps=40"], "leave one out"),
        (["epochs"], "key=value"),
        (["epoch=20"], "Did you mean epochs?"),
        (["-m", "epochs=20"], "resume does not accept -m"),
        (["epochs=20,30"], "epochs=20,30: a run is resumed with one value."),
        (["device=cuda"], "torch finds no GPU"),
        (["data_dir=nowhere", "data=mnist"], "data: can't be changed on resume"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_other_changes_are_refused(stopped, words, says, capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    directory = stopped()
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != ".lock"}
    capsys.readouterr()
    assert main(["resume", "runs/x", *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in directory.iterdir() if path.name != ".lock"} == before


def test_what_a_lock_links_to_is_left_alone(stopped, capsys):
    directory = stopped()
    Path("precious").write_text("content")
    (directory / ".lock").unlink()
    (directory / ".lock").symlink_to(Path("precious").absolute())
    capsys.readouterr()
    assert main(["resume", "runs/x"]) == 1
    assert capsys.readouterr().err == "normexp: runs/x/.lock could not be written (it is a symbolic link).\n"
    assert Path("precious").read_text() == "content"


def test_a_config_that_was_edited_is_noticed(stopped, capsys):
    directory = stopped()
    config = (directory / "config.yaml").read_text()
    (directory / "config.yaml").write_text(config.replace("lr: 0.1\n", "lr: 0.2\n"))
    assert main(["resume", "runs/x"]) == 2
    assert "its config.yaml and its checkpoint differ in lr" in capsys.readouterr().err
    (directory / "config.yaml").write_text("lr: [")
    assert main(["resume", "runs/x"]) == 2
    assert "its config.yaml can't be read (damaged file)" in capsys.readouterr().err
    (directory / "config.yaml").write_text("!!python/object/apply:os.mkdir [evil]")
    assert main(["resume", "runs/x"]) == 2
    assert not Path("evil").exists()


def test_who_trains_there_is_told(stopped, capsys):
    directory = stopped()
    with lock.held(directory):
        assert main(["resume", "runs/x"]) == 2
    assert f"runs/x is in use by process {os.getpid()} on {os.uname().nodename}." in capsys.readouterr().err
    assert checkpoint.load(directory / "checkpoint.pt")["step"] == 5


def test_a_run_that_was_moved_goes_on_where_it_is(stopped):
    stopped()
    Path("elsewhere").mkdir()
    shutil.move("runs/x", "elsewhere/y")
    assert main(["resume", "elsewhere/y"]) == 0
    assert read_status(Path("elsewhere/y"))["state"] == "completed"
    assert not list(Path("runs").iterdir())


def test_ends_that_are_results(stopped, capsys):
    assert main([*RUN, "name=x", "lr=1e30", "log_every=1"]) == 0
    capsys.readouterr()
    assert main(["resume", "runs/x", "steps=100"]) == 0
    assert "diverged" in (printed := capsys.readouterr().out)
    assert "would not change that" in printed
    assert main(["train", "-m", *RUN[1:], "model=mlp", "norm=bn,in", "name=s", "jobs=1"]) == 0
    capsys.readouterr()
    (skipped,) = Path("runs/s").glob("*norm=in*")
    assert main(["resume", str(skipped)]) == 2
    assert "can't be trained" in capsys.readouterr().err


def test_a_sweep_goes_on_with_the_checkpoints_of_its_runs(stopped, capsys):
    sweep = ["train", "-m", *SHORT, "steps=12", "checkpoint_every=5", "norm=bn,ln", "jobs=1"]
    assert main([*sweep, "name=whole"]) == 0
    assert main([*sweep, "name=x"]) == 0
    (directory,) = Path("runs/x").glob("*norm=ln*")
    shutil.copy(directory / "checkpoint.prev.pt", directory / "checkpoint.pt")
    status = read_status(directory)
    kept = {key: status[key] for key in ("step", "total_steps", "seconds", "metrics", "started")}
    write_status(directory, state="interrupted", error=None, **kept)
    before = stamps("runs/x")
    capsys.readouterr()
    assert main(["resume", "runs/x"]) == 0
    assert "2 runs, 1 done already, 1 to resume" in capsys.readouterr().out
    assert "resuming after step 10" in (directory / "train.log").read_text()
    after = stamps("runs/x")
    assert [name for name in before if before[name] != after[name]] == [directory.name]
    assert results("runs/x") == results("runs/whole")


def test_a_run_that_was_half_trained_with_another_config_is_set_aside(tmp_path, capsys):
    Path("own/norm").mkdir(parents=True)
    Path("own/norm/mine.yaml").write_text("defaults: [bn]\nmomentum: 0.2\n")
    sweep = ["train", "--config-dir", "own", "-m", *SHORT, "steps=12", "norm=mine", "jobs=1", "name=x", "seed=0,1"]
    assert main(sweep) == 0
    for path in Path("runs/x").glob("*/status.json"):
        path.write_text(path.read_text().replace('"completed"', '"interrupted"'))
    Path("own/norm/mine.yaml").write_text("defaults: [bn]\nmomentum: 0.3\n")
    capsys.readouterr()
    assert main(sweep) == 0
    assert "config changed: norm.momentum (0.2, now 0.3)" in capsys.readouterr().out
    kept = [checkpoint.load(path / "checkpoint.pt")["step"] for path in Path("runs/x/.replaced").iterdir()]
    assert kept == [12, 12]


LONG = "a" * 300  # longer than a file's name may be


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(f'"\\u001b]0;title\\u0007\\u001b[31m{LONG}"', id="escape sequences"),
        pytest.param("1" * 4000, id="a long number"),
        pytest.param("[" * 900 + "]" * 900, id="nested"),
    ],
)
def test_nothing_that_is_stored_controls_the_terminal(stopped, capsys, folder):
    directory = stopped()
    environment = json.loads((directory / "environment.json").read_text())
    stored = json.dumps({**environment, "directory": "FOLDER"}).replace('"FOLDER"', folder)
    (directory / "environment.json").write_text(stored)
    (directory / "config_diff.yaml").write_text('"\\e[31mevil": 1\n')
    assert main(["resume", str(directory)]) == 0
    captured = capsys.readouterr()
    assert not {"\x1b", "\x07"} & set(captured.out + captured.err)
    assert "\x1b" not in (directory / "train.log").read_text()
