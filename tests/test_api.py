"""`import normexp`: the functions do what the commands do, and say the same."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import normexp
from normexp.cli import main
from normexp.rundir import read_config, read_metrics
from normexp.training import checkpoint

WORDS = ("norm=bn", "model=mlp", "dropout=0.2", "data.augment=[crop]", "eval_every=3", "data.train_size=300")
KEYS = {"lr": 0.3, "steps": 6, "seed": 3, "optim.momentum": 0.8, "probe.every": 2}
"""A run that uses every kind of random numbers, in a fraction of a second."""

COMMAND = [*WORDS, *(f"{key}={value}" for key, value in KEYS.items())]


def numbers(directory):
    """What a run measured, without what depends on the clock."""
    entries = read_metrics(Path(directory))
    return [{tag: v for tag, v in entry.items() if "second" not in tag and "speed/" not in tag} for entry in entries]


def weights(directory):
    return checkpoint.load(Path(directory) / checkpoint.NAME)["model"]


def same_bits(a, b):
    tensors = [weights(directory) for directory in (a, b)]
    return numbers(a) == numbers(b) and all(torch.equal(t, tensors[1][name]) for name, t in tensors[0].items())


def test_importing_normexp_imports_nothing_heavy():
    code = (
        "import normexp, sys; normexp.ConfigError, normexp.load; print({'torch', 'hydra', 'pandas'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    assert (Path(normexp.__file__).parent / "py.typed").exists()
    assert all(getattr(normexp, name).__doc__ for name in normexp.__all__)


def test_the_same_run_as_the_command():
    run = normexp.train(*WORDS, **KEYS, name="python", quiet=True)
    command = [sys.executable, "-P", "-m", "normexp", "train", *COMMAND, "name=command"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert same_bits(run.directory, "runs/command")
    configs = [read_config(Path("runs", name)) for name in ("python", "command")]
    assert {**configs[0], "name": None} == {**configs[1], "name": None}
    assert {p.name for p in run.directory.iterdir()} - {p.name for p in Path("runs/command").iterdir()} <= {
        p.name for p in run.directory.glob("events.*")
    }


def test_a_finished_run_in_python(monkeypatch, tmp_path_factory):
    run = normexp.train(*WORDS, **KEYS, quiet=True)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert run.state == "completed"
    assert run.config.lr == 0.3
    assert run.config.model.name == "mlp"
    assert run.class_names == tuple("0123456789")
    # The network and the data give the accuracy that the run has reported.
    model, test = run.model(), run.data("test")
    assert not model.training
    with torch.no_grad():
        right = model(test.inputs).argmax(1) == test.labels
    assert len(test) == 360
    assert right.double().mean().item() == run.metrics["test/accuracy"]
    assert {split: len(run.data(split)) for split in ("train", "val")} == {"train": 300, "val": 144}
    again = normexp.load(run.directory)
    assert again.metrics == run.metrics
    assert "completed, test/accuracy" in repr(again)


def test_history_has_a_row_for_each_logged_step(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    run = normexp.train(*WORDS, **KEYS, quiet=True)
    history = run.history("val/accuracy", "train/loss")
    assert list(history) == ["step", "epoch", "seconds", "val/accuracy", "train/loss"]
    assert history["step"].dtype == np.int64
    entries = {entry["step"]: entry for entry in read_metrics(run.directory)}
    for tag in ("val/accuracy", "train/loss"):
        expected = [entries[step].get(tag, np.nan) for step in history["step"]]
        np.testing.assert_array_equal(history[tag], expected)
    assert np.isnan(history["train/loss"][0])  # at step 0 nothing was trained
    assert len(run.history()["step"]) == len(entries)
    with pytest.raises(normexp.ConfigError, match="Did you mean val/accuracy"):
        run.history("val/acuracy")


def test_history_is_a_data_frame_if_pandas_is_installed():
    pd = pytest.importorskip("pandas", reason="needs pandas")
    history = normexp.train(*WORDS, **KEYS, quiet=True).history("val/accuracy")
    assert isinstance(history, pd.DataFrame)
    assert list(history.columns) == ["step", "epoch", "seconds", "val/accuracy"]


def test_build_gives_the_network_before_training():
    built = normexp.build("norm=ln", "model=mlp", seed=5)
    run = normexp.train("norm=ln", "model=mlp", seed=5, steps=1, lr=1e-30, quiet=True, **{"optim.weight_decay": 0})
    assert built.training
    for name, value in weights(run.directory).items():
        torch.testing.assert_close(built.state_dict()[name], value, rtol=0, atol=1e-20)


WRONG = [
    ("norm=bnn",),
    ("lr=abc",),
    ("learning_rate=0.1",),
    ("lr",),
    ("norm=in", "model=mlp"),
    ("name=a/b",),
    ("batch_size=10000",),
    ("norm.eps=0",),
    ("lr=0.1,1",),
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_arguments_get_the_sentence_of_the_command(words, capsys):
    assert main(["train", *words]) == 2
    printed = capsys.readouterr().err
    with pytest.raises(normexp.ConfigError) as error:
        normexp.train(*words)
    assert printed == f"normexp: {error.value}\n"
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: normexp.train("-m"), "use normexp.sweep"),
        (lambda: normexp.train(seeds=3), "use normexp.sweep"),
        (lambda: normexp.train("experiment=lr-range"), "use normexp.sweep"),
        (lambda: normexp.train(0.1), "'key=value'"),
        (lambda: normexp.train(optim_momentum=0.5), "optim.momentum"),
        (lambda: normexp.train(optim={"momentum": 0.5}), "'optim.momentum=0.9'"),
        (lambda: normexp.train(lr=object()), "must be a number"),
        (lambda: normexp.train(config_dir="mine"), "is not a folder"),
        (lambda: normexp.build(norm="bnn"), "Did you mean bn"),
        (lambda: normexp.sweep("norm=bn,bnn"), "Did you mean bn"),
        (lambda: normexp.sweep(lr=[]), "at least one value"),
        (lambda: normexp.load("runs/none"), "does not exist"),
        (normexp.load_runs, "needs a folder"),
    ],
)
def test_arguments_that_only_python_has(wrong, sentence):
    with pytest.raises(normexp.ConfigError, match=sentence):
        wrong()
    assert not list(Path().iterdir())


def test_values_of_python_are_read_as_on_the_command_line():
    from normexp.api.words import to_words

    values = {
        "lr": np.float32(0.5),
        "steps": np.int64(3),
        "norm.affine": False,
        "epochs": None,
        "runs_dir": Path("a b"),
    }
    assert to_words([], values) == ["lr=0.5", "steps=3", "norm.affine=false", "epochs=null", "runs_dir='a b'"]
    assert to_words([], {"probe.layers": ["fc1", "fc*"], "lr": 1e-5}) == ["probe.layers=[fc1,fc*]", "lr=1e-05"]
    swept = {"lr": np.array([0.5, 1.0]), "seed": range(2), "dropout_layers": [["fc1"], []]}
    assert to_words([], swept, sweeps=True) == ["lr=0.5,1.0", "seed=0,1", "dropout_layers=[fc1],[]"]
