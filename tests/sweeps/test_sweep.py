"""Sweeps in this process, one run at a time: the runs that are trained, those that are not, and the output."""

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from normexp import NUMERICS
from normexp.cli import main
from normexp.config import as_tree
from normexp.optim.optimizers import OPTIMIZERS
from normexp.rundir import read_status, to_yaml, write_status
from normexp.sweeps.plan import plan_sweep
from normexp.sweeps.survey import note_other_runs
from tests.conftest import ROOT, SHARED_DATA, compose, needs_data
from tests.sweeps.sweeping import SHORT, results, stamps, states


def sweep(*words):
    return main(["train", "-m", *SHORT, "jobs=1", *words])


def test_a_sweep_ends_with_its_table_and_the_way_on(capsys):
    assert sweep("norm=none,bn", "lr=0.1,1e30", "seed=0,1", "steps=10", "name=s") == 0
    printed = capsys.readouterr().out
    assert "8 runs: 4 completed, 4 diverged" in printed
    assert "2 of 2 diverged" in printed
    assert "±" in printed
    assert "rows: norm, columns: lr" in printed
    assert "normexp report runs/s --html" in printed
    assert "diverged: the loss became" in printed
    names = set(states("runs/s"))
    assert len(names) == 8
    assert all(name.startswith("norm=") and name[-7:] in ("_seed=0", "_seed=1") for name in names)
    environment = json.loads((Path("runs/s") / sorted(names)[0] / "environment.json").read_text())
    assert environment["command"][:3] == ["normexp", "train", "-m"]


def test_where_everything_diverged_the_next_commands_are_ready_to_be_pasted(capsys):
    words = ["lr=1e30", "steps=3", "data.train_size=200"]
    assert sweep("lr=1e30,1e25", "steps=3", "name=s") == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("see where"))
    command = line.removeprefix("see where").split()
    assert (command[:2], command[-1]) == (["normexp", "train"], "debug=anomaly")
    assert main(command[1:]) == 0
    assert main(["train", *words, "log_every=7"]) == 0
    again = f"normexp train {' '.join(words)} probe.every=1 log_every=1"
    assert f"see it happen  {again}\n" in capsys.readouterr().out


def test_the_same_command_again_trains_what_is_left_or_new_and_nothing_else(capsys):
    command = ["norm=none,bn", "seed=0", "steps=6", "name=s"]
    assert sweep(*command) == 0
    before = stamps("runs/s")
    assert sweep(*reversed(command)) == 0
    assert stamps("runs/s") == before
    assert "2 runs, 2 done already" in capsys.readouterr().out

    interrupted = Path("runs/s") / min(before)
    status = json.loads((interrupted / "status.json").read_text())
    (interrupted / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    assert main(["resume", "runs/s"]) == 0
    assert {name for name, stamp in stamps("runs/s").items() if stamp != before[name]} == {interrupted.name}

    before = stamps("runs/s")
    assert sweep("norm=none,bn,ln", "seed=0", "steps=6", "name=s") == 0
    assert {name for name, stamp in stamps("runs/s").items() if stamp != before.get(name)} == {
        name.replace("norm=bn", "norm=ln") for name in before if "norm=bn" in name
    }


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["norm=bn,ln", "lr=0.1", "grad_clip=1"], "2 runs that differ in grad_clip"),
        (["norm=ln", "lr=0.2,0.3"], "2 runs that differ in norm, lr"),
        (["norm=ln", "lr=0.1", "seed=0,1"], "1 run that differs in norm"),
        (["norm=bn,ln", "lr=0.1,0.2", "seed=1"], None),
    ],
)
def test_a_sweep_into_a_folder_with_runs_of_other_configs_says_so(words, note):
    for norm, state in {"bn": "completed", "ln": "completed", "in": "skipped"}.items():
        directory = Path(f"runs/s/norm={norm}_lr=0.1_seed=0")
        directory.mkdir(parents=True)
        (directory / "config.yaml").write_text(to_yaml(as_tree(compose(f"norm={norm}", "lr=0.1"))))
        (directory / "environment.json").write_text(f'{{"numerics": {NUMERICS}}}')
        write_status(directory, state)
    plan = plan_sweep(["name=s", *words], None, Console(), load_data=False)
    expected = [f"note: runs/s already holds {note}; reports will show all runs"] if note else []
    assert list(note_other_runs(plan)) == expected


def test_a_run_whose_config_has_changed_is_not_taken_for_done(capsys):
    own = Path("own/experiment")
    own.mkdir(parents=True)
    text = "# @package _global_\nsteps: {}\nhydra: {{mode: MULTIRUN, sweeper: {{params: {{seed: '0,1'}}}}}}\n"
    (own / "mine.yaml").write_text(text.format(4))
    words = ["train", "--config-dir", "own", "experiment=mine", "jobs=1", *SHORT]
    assert main(words) == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("mine_")
    (own / "mine.yaml").write_text(text.format(5))
    capsys.readouterr()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "config changed: steps (4, now 5)" in printed
    assert {read_status(folder / name)["step"] for name in states(folder)} == {5}
    assert {read_status(path.parent)["step"] for path in folder.glob(".replaced/*/status.json")} == {4}
    assert main(words) == 0
    assert "2 done already" in capsys.readouterr().out


@pytest.mark.parametrize(("line", "trained_again"), [("", False), ("eval_every: auto\n", True)])
@pytest.mark.long
def test_a_new_default_of_eval_every_repeats_finished_runs_only_if_a_file_sets_it(line, trained_again, capsys):
    """The runs have the config.yaml of a version whose default was null."""
    Path("own/experiment").mkdir(parents=True)
    path = Path("own/experiment/mine.yaml")
    path.write_text("# @package _global_\nsteps: 2\n")
    words = ["train", "-m", "--config-dir", "own", "experiment=mine", *SHORT[:-1], "jobs=1", "seed=0,1", "name=s"]
    assert main(words) == 0
    for config in Path("runs/s").glob("*/config.yaml"):
        config.write_text(config.read_text().replace("eval_every: auto", "eval_every: null"))
    path.write_text(path.read_text() + line)
    Path("experiment").mkdir()
    Path("experiment/mine.yaml").write_text("eval_every: [")  # in the current folder, which has no configs
    capsys.readouterr()
    assert main(words) == 0
    assert ("config changed: eval_every (null, now auto)" in capsys.readouterr().out) is trained_again
    assert len(list(Path("runs/s/.replaced").glob("*"))) == 2 * trained_again


def test_what_can_not_be_trained_is_recorded_before_anything_trains_and_stops_nothing(capsys):
    assert sweep("model=mlp,cnn", "norm=in,gn", "norm.groups=2", "steps=2", "name=s") == 0
    printed = capsys.readouterr().out
    found = states("runs/s")
    assert sorted(found.values()) == ["completed", "completed", "completed", "skipped"]
    (skipped,) = (name for name, state in found.items() if state == "skipped")
    assert {"model=mlp", "norm=in"} <= set(skipped.split("_"))
    assert "3 runs, 1 combination skipped" in printed
    assert printed.index("1 skipped: norm=in can't work") < printed.index("1/3")
    assert printed.count("norm=in can't work") == 1
    assert "\n3 runs: 3 completed\n" in printed
    assert "norm=in can't work" in read_status(Path("runs/s") / skipped)["error"]


def test_what_can_not_be_trained_any_more_is_set_aside(capsys):
    own = Path("own/experiment")
    own.mkdir(parents=True)
    sweeps = "hydra: {mode: MULTIRUN, sweeper: {params: {norm: 'in,gn'}}}\n"
    (own / "mine.yaml").write_text("# @package _global_\n" + sweeps)
    words = ["train", "--config-dir", "own", "experiment=mine", "jobs=1", *SHORT, "steps=2", "name=s"]
    assert main(words) == 0
    (own / "mine.yaml").write_text("# @package _global_\ndefaults: [override /model: mlp]\n" + sweeps)
    assert main(words) == 0
    assert sorted(states("runs/s").values()) == ["completed", "skipped"]
    assert sorted(states("runs/s/.replaced").values()) == ["completed", "completed"]


def test_what_goes_wrong_around_a_run_is_told_too(capsys):
    assert sweep("seed=0,1", "steps=2", "name=s") == 0
    name = min(states("runs/s"))
    for path in Path("runs/s", name).iterdir():
        path.unlink()
    Path("runs/s", name).rmdir()
    Path("runs/s", name).touch()
    capsys.readouterr()
    assert sweep("seed=0,1", "steps=2", "name=s") == 1
    path = Path("runs/s", name).absolute()
    assert f"{name}  failed: {path} could not be written (File exists)." in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["back\\slash", "it's", "two words, and more", "ends\\"])
@pytest.mark.long
def test_folders_with_odd_names(folder, monkeypatch):
    Path(folder).mkdir()
    monkeypatch.chdir(folder)
    assert sweep("seed=0,1", "steps=1", "name=s") == 0
    before = stamps("runs/s")
    assert main(["resume", "runs/s"]) == 0
    assert stamps("runs/s") == before
    assert len(before) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("hydra: {mode: MULTIRUN, sweeper: {params: {norm: '[none,bn]'}}}", "params of the experiment: norm=[none,bn]"),
        ("hydra: {mode: MULTIRUN, sweeper: {params: {lrr: '0,1'}}}", "Did you mean lr?"),
        ("hydra: {mode: MULTIRUN, sweeper: {params: {norm: [none, bn]}}}", "write the values of norm as one string"),
        ("defaults: [/experiment/mine, _self_]", "includes the file itself"),
    ],
)
def test_mistakes_in_a_sweep_of_ones_own(content, says, capsys):
    Path("own/experiment").mkdir(parents=True)
    Path("own/experiment/mine.yaml").write_text(f"# @package _global_\n{content}\n")
    assert main(["train", "--config-dir", "own", "experiment=mine"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize("other", ["lr-range", "/experiment/lr-range"])
def test_a_sweep_of_ones_own_may_take_over_a_shipped_one(other, capsys):
    Path("own/experiment").mkdir(parents=True)
    Path("own/experiment/mine.yaml").write_text(
        f"# @package _global_\ndefaults: [{other}, _self_, override /data: digits]\nsteps: 2\n"
    )
    words = ["norm=none", "lr=0.1,1", "seed=0", *SHORT, "jobs=1", "name=s"]
    assert main(["train", "--config-dir", "own", "experiment=mine", *words]) == 0
    assert len(states("runs/s")) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data_dir=a,b"], "share data_dir"),
        (["lr=abc,1"], "lr=abc: lr must be a number"),
        (["hydra.launcher.n_jobs=2", "seed=0,1"], "use jobs=N"),
        (["lr=interval(0,1)"], "hydra/sweeper=optuna"),
        (["objective=val/acc", "seed=0,1"], "Did you mean val/accuracy?"),
        (["experiment=lr-range,depth"], "share experiment"),
    ],
)
def test_mistakes_about_sweeps(words, says, capsys):
    assert sweep(*words) == 2
    assert says in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.long
def test_all_choices_of_a_group(capsys):
    assert sweep("optim=glob(*)", "steps=1", "name=s") == 0
    assert len(states("runs/s")) == len(OPTIMIZERS)


@pytest.mark.long
def test_resume_gives_every_command_again_that_made_runs(capsys):
    assert sweep("seed=0,1", "steps=2", "name=s") == 0
    assert sweep("seed=5", "steps=3", "name=s") == 0
    before = stamps("runs/s")
    assert capsys.readouterr().out.count("note: runs/s already holds 2 runs that differ in steps") == 1
    for path in Path("runs/s").glob("*/status.json"):
        path.unlink()
    assert main(["resume", "runs/s"]) == 0
    assert "note:" not in capsys.readouterr().out
    assert set(stamps("runs/s")) == set(before)
    assert len(before) == 3


def test_a_failure_is_shown_with_its_log_and_stops_nothing(capsys):
    """Needs 185 GB for the validation samples: 8x8 images with five million channels."""
    assert sweep("model.kernel=1", "model.channels=[5000000],[8]", "steps=2", "name=s") == 1
    printed = capsys.readouterr().out
    assert sorted(states("runs/s").values()) == ["completed", "failed"]
    (failed,) = (name for name, state in states("runs/s").items() if state == "failed")
    (line,) = (line for line in printed.splitlines() if "1/2" in line)
    assert "memory" in line
    log = Path("runs/s") / failed / "train.log"
    assert f"see {log}" in line
    assert "Traceback" in log.read_text()


def test_where_nothing_can_be_trained_nothing_is_written(capsys):
    for words in (["lr=-1,0"], ["model=mlp", "norm=in", "seed=0,1"], ["norm=bn,ln", "jobs=0"], ["name=a,b"]):
        assert main(["train", "-m", *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path("runs").exists()


def test_missing_data_is_told_once_and_before_anything_trains(capsys, monkeypatch):
    import urllib.request

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert sweep("data=mnist", "model=mlp", "seed=0,1,2", "data_dir=nowhere") == 2
    assert capsys.readouterr().err.count("does not exist") == 1
    assert not Path("runs").exists()
    assert not Path("nowhere").exists()


def test_a_sweep_and_a_run_do_not_share_a_name(capsys):
    assert main(["train", *SHORT, "steps=1", "name=s"]) == 0
    assert sweep("seed=0,1", "steps=1", "name=s") == 2
    assert "is a run; choose another name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda: None, "is not a folder"),
        (lambda: Path("x").mkdir(), "not the folder of a run or sweep"),
        (lambda: (Path("x").mkdir(), Path("x/sweep.json").write_text("{")), "can't be read"),
        (lambda: (Path("x").mkdir(), Path("x/sweep.json").write_text("{}")), "does not record"),
        (lambda: (Path("x").mkdir(), Path("x/sweep.json").write_text("[" * 100_000)), "can't be read"),
        (lambda: (Path("x").mkdir(), os.mkfifo("x/sweep.json")), "not a regular file"),
    ],
)
def test_what_can_not_be_resumed(prepare, says, capsys):
    prepare()
    capsys.readouterr()
    assert main(["resume", "x"]) == 2
    assert says in capsys.readouterr().err


def test_a_sweep_that_was_moved_goes_on_where_it_is(tmp_path):
    assert sweep("seed=0,1", "steps=3", "name=s") == 0
    before = stamps("runs/s")
    (tmp_path / "else where").mkdir()
    Path("runs/s").rename("else where/it's")
    assert main(["resume", "else where/it's"]) == 2  # an apostrophe is not in a name
    Path("else where/it's").rename("else where/s 2")
    assert main(["resume", "else where/s 2"]) == 0
    assert stamps("else where/s 2") == before
    assert not list(Path("runs").iterdir())


def test_one_after_another_or_alone_a_run_is_the_same():
    assert sweep("norm=none,bn", "seed=3", "steps=8", "name=s") == 0
    assert main(["train", *SHORT, "norm=bn", "seed=3", "steps=8", "name=bn", "runs_dir=alone"]) == 0
    (alone,) = results("alone").values()
    assert next(values for name, values in results("runs/s").items() if "norm=bn" in name) == alone


@needs_data
@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs" / "experiment").glob("*.yaml")))
@pytest.mark.long
def test_shipped_experiments_train(name, capsys):
    """Train each shipped sweep for one step, with the first and last value of each key and one seed; or each single run."""
    words = ["data.val_size=0.01", "data.test_size=100", "seed=0", f"data_dir={SHARED_DATA}", "probe=off"]
    words += ["eval_every=1000", "jobs=1"]
    ends = {
        "lr-range": ["norm=none,gn", "lr=0.003,30"],
        "init-range": ["norm=bn", "init.std=0.001,10"],
        "batch-size": ["norm=bn,ln", "batch_size=2,128"],
        "position": ["norm=ln", "norm.position=post", "activation=relu,sigmoid"],
        "dropout": ["norm=bn", "dropout=0,0.5"],
        "depth": ["norm=none", "activation=tanh", "model.depth=3,10"],
    }.get(name, [])
    assert main(["train", f"experiment={name}", *words, *ends, "epochs=null", "steps=1"]) == 0
    (folder,) = Path("runs").iterdir()
    if name in ("vit-mnist", "rnn-mnist"):
        assert f"experiment={name}" in folder.name
        assert read_status(folder)["state"] == "completed"
        return
    assert folder.name.startswith(f"{name}_")
    assert len(states(folder)) in (2, 4)
    assert set(states(folder).values()) <= {"completed", "diverged"}
    assert "±" not in capsys.readouterr().out
