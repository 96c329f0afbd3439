"""Wrong input gives one sentence and exit code 2, and writes nothing."""

import os
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.norms import NORMS
from tests.commands.shell import start

NORM_NAMES = ", ".join(sorted(NORMS))

BAD = [
    (["norm=batch"], f"norm is one of {NORM_NAMES}. Did you mean bn?"),
    (["norm=LayerNorm"], "Did you mean ln?"),
    (["data=mnits"], "Did you mean mnist?"),
    (["lr=fast"], "lr must be a number > 0"),
    (["lr="], "lr must be a number > 0"),
    (["optim.foo=1"], "Unknown key optim.foo. The keys are optim."),
    (["optim.momentun=1"], "Did you mean optim.momentum?"),
    (["data.test_size=400"], "digits has 360 test samples"),
    (["debug=fsat"], "debug is one of anomaly, fast, overfit, profile. Did you mean fast?"),
    (["amp=fp8"], "amp is one of bf16, fp16, null."),
    (["compile=yes please"], "compile must be true or false"),
    (["model=mlp", "model.widths=[8,0]"], "a list of integers >= 1, such as [8,16], or null"),
    (["optim.lr=1"], "Did you mean lr?"),
    (["learning_rate=0.1"], "Unknown key learning_rate. Did you mean lr?"),
    (["normalization=bn"], "Did you mean norm?"),
    (["optim.wd=0.1"], "Did you mean optim.weight_decay?"),
    (["norm", "=", "bn"], "Write norm=bn without spaces around the =."),
    (["norm=", "bn"], "Write norm=bn without spaces around the =."),
    (["norm", "=bn"], "Write norm=bn without spaces around the =."),
    (["norm=[none,bn]", "-m"], "For a sweep: -m norm=none,bn"),
    (["lr=[0.1,1]", "-m"], "For a sweep: -m lr=0.1,1"),
    (["debug=true"], "debug=true: debug is one of"),
    (["norm=xyz"], f"norm is one of {NORM_NAMES}. --config-dir DIR adds your own"),
    (["model=transformer"], "model is one of cnn, mlp, resnet, rnn, vgg, vit. --config-dir"),
    (["+typo=1"], "Unknown key typo"),
    (["typo=1"], "Unknown key typo"),
    (["+optim.nesterov=true"], "without +"),
    (["+norm.groups=4"], "without +"),
    (["norm.groups=4"], "norm.groups is a key of norm=gn and norm=evonorm only"),
    (
        ["norm=gn", "norm.groups=4", "norm.group_size=8"],
        "norm.groups and norm.group_size are both given: leave one out.",
    ),
    (["norm.name=gn"], "use norm=... to choose a norm"),
    (["norm=null"], "norm is one of"),
    (["norm=[bn,gn]"], "norm is one of"),
    (["norm="], "norm is one of"),
    (["~norm"], "can't be removed"),
    (["~lr"], "can't be removed"),
    (["lr=-1"], "> 0"),
    (["epochs=0"], ">= 1"),
    (["dropout=1.5"], "< 1"),
    (["norm=in", "model=mlp"], "layer fc1 of model=mlp"),
    (["norm=gn", "norm.groups=7"], "norm.groups can be 1, 2, 4, 8, 16 here"),
    (["norm=bn", "model=mlp", "batch_size=1"], "Use batch_size=2 or more."),
    (["model=resnet", "model.depth=19"], "use 14 or 20"),
    (["probe.layers=[conv2,convv9]"], "no layer of model=cnn matches convv9; choose from conv1, conv2, conv3, head"),
    (["probe.layers=conv1"], "a list of strings"),
    (
        ["norm.layers=[convv2]"],
        "that can have a norm matches convv2; choose from conv1, conv2, conv3. Did you mean conv2?",
    ),
    (["probe.drift=yess"], "true or false"),
    (["probe.landscape_steps=[0]"], ">= 1"),
    (["probe.landscape_steps=[5]"], "add probe.landscape=true"),
    (["probe=landscap"], "Did you mean landscape?"),
    (["device=cuda"], "torch finds no GPU"),
    (["runs_dir=/proc/runs"], "no run directory can be created in /proc"),
    (["runs_dir=a_file"], "no run directory can be created"),
    (["name=../up"], "no slash"),
    (["name=" + "x" * 10_000], "at most 100 characters"),
    (["lr=0.1,0.2"], "add -m"),
    (["norm=bn,ln"], "add -m"),
    (["lr=a b,"], "a value is missing before or after a comma"),
    (["-m", "lr=0.1,,1"], "lr=0.1,,1 can't be read: a value is missing before or after a comma."),
    (["norm=none;bn"], "several values are separated by commas, as in -m norm=none,bn."),
    (["model.widths=[8"], "a bracket or a value is missing"),
    (["=1"], "A key is missing before the ="),
    (["bn"], "Did you mean norm=bn?"),
    (["lr", "0.1"], "Did you mean lr=0.1?"),
    (["epochs", "3", "norm=bn"], "Did you mean epochs=3?"),
    (["momentum", "0.5"], "Did you mean norm.momentum=0.5 or optim.momentum=0.5?"),
    (["norm:bn"], "Did you mean norm=bn?"),
    (["help"], "normexp help train lists them."),
    (["norm", "lr=1"], "such as lr=0.1."),
    (["model.layers=3"], "model.layers is a key of model=rnn only."),
    (["--multi"], "Did you mean --multirun?"),
    (["--experimental-rerun", "x.pkl"], "Unknown flag --experimental-rerun"),
    (["--config-path=/etc"], "Unknown flag --config-path"),
    (["--cfg"], "one of job, hydra, all"),
    (["--cfg", "jobs"], "one of job, hydra, all"),
    (["--config-dir", "nowhere"], "is not a folder"),
    (["experiment=mine"], "--config-dir"),
    (["experiment=[[]]"], "experiment is one of"),
    (["hydra.launcher._target_=os.system"], "_target_ is not allowed in configs"),
    (["hydra.nothing=1"], "hydra.nothing"),
    (["hydra/launcher=nothing"], "hydra/launcher"),
    (["steps=5", "epochs=5"], "leave one out"),
    (["data=mnist", "data_dir=empty"], "downloading it failed"),
    (["--resolve"], "works with --cfg only"),
    (["--norm=bn"], "without dashes: norm=bn"),
    (["--lr", "0.1"], "without dashes: lr=0.1"),
    (["--batch-size", "32"], "--batch-size is written without dashes: batch_size=32."),
    (["--gpu"], "Use device=cuda."),
    (["--device", "cpu"], "--device is written without dashes: device=cpu."),
    (["--weight-decay=0.1"], "without dashes: optim.weight_decay=0.1."),
    (["norm=bn", "norm=ln"], "norm is given twice"),
    (["device=gpu"], "Did you mean cuda?"),
    (["LR=1"], "Did you mean lr?"),
    (["schedule=step", "schedule.milestones=[3,4]"], "schedule.milestones=[3,4]: schedule.milestones must be a list"),
    (["-m", "--cfg", "job", "lr=1,2"], "can't be combined"),
    (["-m", "lr=-1,0"], "lr must be a number > 0"),
    (["-m", "norm=bn,ln", 'name="../up"'], "no slash"),
    (["hydra.run.dir=elsewhere"], "hydra.run.dir is set by normexp"),
    (["runs_dir=" + "x" * 300], "File name too long"),
    (["data.val_size=0.0007"], "at least 2 validation samples"),
    (["lr=1" + "0" * 400], "lr must be a number > 0"),
    (["steps=1" + "0" * 400], "steps must be an integer"),
    (["seed=" + "9" * 5_000], "can't be read"),
    (["lr=" + "[" * 200 + "]" * 200], "nested too deeply"),
    (["lr=${missing}"], "lr: Interpolation key 'missing' not found"),
    (["lr=${oc.env:NOT_THERE}"], "Environment variable 'NOT_THERE' not found"),
    (["-m", "lr=${oc.env:NOT_THERE}"], "Environment variable 'NOT_THERE' not found"),
    (["-m", "seed=0,1", "name=${missing}"], "'missing' not found"),
    (["-m", "norm=ln,gn", "name=${norm.name}z"], "name=${norm.name}z: all runs of a sweep share name"),
    (["-m", "norm=ln,gn", "runs_dir=runs/${lr}"], "all runs of a sweep share runs_dir"),
    (["seed=99999999999999999999"], "seed must be an integer >= 0 and < 2^63."),
    (["-m", "objective=null"], "objective=null: objective is one of"),
    (["-m", "seed=range(0,10,0)"], "must not be zero"),
    (["-m", "seed=range(3,0)"], "at least one value is needed"),
    (["-m", "norm=glob(zz*)"], "at least one value is needed"),
    (["-m", "seed=range(0,1000000000000)"], "more than 10,000 combinations"),
    (["runs_dir='~nobody-here'"], "no home folder"),
    (["-m", "seed=0,1", "runs_dir=" + "x" * 300], "File name too long"),
    (["-m", "seed=0,1", "runs_dir='~nobody-here'"], "no home folder"),
    (["lr=tag(a,b)"], "Last argument to tag()"),
    (["lr=\x1b[2J"], "lr=?[2J can't be read: unexpected '?'"),
    (["lr='\udcff'"], "is not valid UTF-8"),
    (["hydra/launcher=1"], "must be a name"),
    (["hydra.verbose=1"], "hydra.verbose is set by normexp"),
    (["--config-dir", "x" * 300], "is not a folder"),
    (["model=mlp", "model.depth=1000000000000"], "more than 3,000 layers"),
    (["model.convs=1000000000000"], "more than 3,000 layers"),
    (["model=mlp", "model.width=1000000000000"], "more than 1,000,000,000 parameters"),
    (["norm=gn", "norm.groups=17", "model.channels=[720720]"], "norm.groups can be 1, 2, 3, 4, 5"),
    (["model=resnet", "model.depth=110", "probe.layers=[x]"], "choose from conv1, block1.conv1"),
]


@pytest.mark.parametrize(
    ("words", "says"), BAD, ids=lambda words: " ".join(words)[:40] if isinstance(words, list) else ""
)
def test_bad_input_gets_one_sentence_and_code_2(words, says, capsys, monkeypatch):
    import urllib.request

    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    Path("a_file").touch()
    assert main(["train", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" or "-m" in words  # a sweep names its runs
    *notes, sentence = captured.err.splitlines()
    assert sentence.startswith("normexp: ")
    assert says in sentence
    assert notes == [] or "downloading" in notes[0] or "-m" in words
    assert [path.name for path in Path().iterdir()] == ["a_file"]


def test_config_dirs_that_would_mislead_or_run_code(capsys):
    (Path("own") / "norm").mkdir(parents=True)
    (Path("own") / "norm" / "bn.yaml").write_text("name: bn\n")
    for words in ([], ["norm=bn"], ["-m", "norm=gn,bn"]):
        assert main(["train", "--config-dir", "own", *words]) == 2
        assert "own/norm/bn.yaml has the name of an existing choice and would not be used" in capsys.readouterr().err
    assert not Path("runs").exists()
    (Path("own") / "norm" / "bn.yaml").rename("own/norm/evil.yaml")
    Path("own/norm/evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: os.system\n"
    )
    assert main(["train", "--config-dir", "own", "norm=evil"]) == 2
    assert "hydra.callbacks.x._target_ is not allowed in configs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "choice", "says"),
    [
        ("norm/bad.yaml", "name: bn\nmomentum: [\n", "norm=bad", "invalid yaml"),
        ("experiment/local.yaml", "lr: 0.5\n", "experiment=local", "no line '# @package _global_' at the top"),
        ("norm/part.yaml", "momentum: 0.5\n", "norm=part", "'defaults: [CHOICE]', where norm is one of"),
    ],
)
def test_mistakes_in_files_of_ones_own(file, content, choice, says, capsys):
    path = Path("own") / file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert main(["train", "--config-dir", "own", choice]) == 2
    assert says in capsys.readouterr().err
    assert not Path("runs").exists()


def test_from_the_shell_bad_input_prints_no_traceback_unless_asked():
    done = start("train", "norm=in", "model=mlp")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    done = start("train", "lr=fast", env={**os.environ, "HYDRA_FULL_ERROR": "1"})
    assert "Traceback" in done.stderr
    assert "InvalidValueError" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "Unknown command trian. Did you mean train?"),
        (["list"], "Did you mean normexp runs?"),
        (["sweep", "norm=bn"], "Unknown command sweep. Did you mean normexp train -m?"),
        (["help", "sweep"], "Did you mean normexp train -m?"),
        (["compare", "runs/none", "runs/bn"], "Did you mean normexp report A B?"),
        (["plot"], "Did you mean normexp report RUN --plot val/accuracy?"),
        (["version"], "Did you mean normexp --version?"),
        (["norm=bn"], "normexp train norm=bn"),
        (["fly"], "Unknown command fly. The commands are train"),
        (["help", "fly"], "Unknown command or key fly. normexp help train lists all keys."),
        (["help", "epohcs"], "Did you mean epochs?"),
        (["help", "norm=xyz"], f"norm is one of {NORM_NAMES}."),
        (["help", "debug=slow"], "debug is one of anomaly, fast, overfit, profile."),
    ],
)
def test_unknown_commands(words, says, capsys):
    assert main(words) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("command", ["resume", "tensorboard", "runs", "report", "metrics", "rm", "eval"])
def test_a_wrong_folder_gets_the_nearest(command, capsys):
    Path("runs/none").mkdir(parents=True)
    for word in ("runs/nope", "none", "nnoe"):
        assert main([command, word]) == 2
        assert "Did you mean runs/none?" in capsys.readouterr().err
    assert main([command, "elsewhere/far"]) == 2
    assert "Did you mean" not in capsys.readouterr().err
