"""Every command in README.md, CONTRIBUTING.md and docs/ does what it is shown for."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normexp.cli import main
from normexp.rundir import read_status
from tests.conftest import ROOT, SHARED_DATA, needs_data
from tests.pages import PACKAGED, PAGES, SHELL, TEXT

PRINTS = [
    line
    for line in SHELL
    if line not in PACKAGED
    and any(word in line for word in ("--help", "normexp help", "--cfg", "describe", "--dry-run"))
]
TRAIN = [line for line in SHELL if line.startswith("normexp train") and line not in (*PRINTS, *PACKAGED)]
SHORT = [line for line in TRAIN if line in PAGES["README.md"] and "name=lr-grid" not in line]
YAML = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
RESUMES = [line for line in SHELL if line.startswith("normexp resume runs/mine")]
PAIR = "normexp report runs/none runs/bn --html"
REPORTS = [
    line
    for line in SHELL
    if line.startswith(("normexp resume", "normexp report", "normexp runs")) and line not in (*RESUMES, PAIR)
]
METRICS = [line for line in SHELL if line.startswith("normexp metrics")]
CLAIMS = [line for line in SHELL if line.startswith("normexp claims")]
EVALS = [line for line in SHELL if line.startswith("normexp eval")]
SHOWN = {". .venv/bin/activate", "eval", "normexp bench", "normexp describe", "export", "make", "normexp tensorboard"}
SHOWN |= {"pip install", "jupyter"}


@needs_data
@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=() if line in SHORT else pytest.mark.long)
        for line in TRAIN
        if "hydra/launcher=" not in line
    ],
)
@pytest.mark.filterwarnings("ignore:Deprecated API features detected", "ignore::DeprecationWarning:optuna")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_training_commands_train(line, monkeypatch):
    """As shown, but for two steps on few samples, and sweeps with fewer values: how long they take is not the point here."""
    tracker = re.search(r"tracker=(\w+)", line)
    if tracker and importlib.util.find_spec(tracker[1]) is None:
        pytest.skip(f"{tracker[1]} is not installed")
    monkeypatch.setenv("NORMEXP_DATA_DIR", str(SHARED_DATA))
    (Path("DIR") / "experiment").mkdir(parents=True)
    experiment = next(block for block in YAML if "@package" in block)
    Path("DIR/experiment/deep.yaml").write_text(experiment)
    words = shlex.split(line.replace("$NORMEXP_DATA_DIR", str(SHARED_DATA)))[1:]
    shorter = ["epochs=null", "steps=2", "data.val_size=0.01", "data.test_size=100", "log_every=1"]
    shorter += ["data.verify=false", "model.depth=8", "model.width=8"] if "cifar10" in line else []
    if "data.path=" in line:
        own_data()
        shorter[2] = "data.val_size=0.2"
    sweeps = "-m" in words or "experiment=lr-range" in words
    words = [word for word in words if not word.startswith("seeds=")]
    shorter += ["jobs=1", "seed=0"] if sweeps else []
    shorter += ["lr=0.003,30"] if "experiment=lr-range" in words else []
    shorter += ["hydra.sweeper.n_trials=2"] if "optuna" in line else []
    assert main([*words, *shorter]) == 0
    found = list(Path("runs").glob("**/status.json"))
    assert len(found) > 1 if sweeps else len(found) == 1
    assert {read_status(path.parent)["state"] for path in found} <= {"completed", "diverged"}


def own_data():
    """The file and the folder of docs/data.md."""
    images = np.random.default_rng(0).integers(0, 256, (1000, 12, 12), dtype=np.uint8)
    labels = np.arange(1000) % 3
    source = next(line for line in (ROOT / "docs/data.md").read_text().splitlines() if line.startswith("np.savez("))
    exec(source, {"np": np, "images": images, "labels": labels})
    for i in range(240):
        path = Path("pictures", "abc"[labels[i]], f"{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(path)


def test_commands_for_a_cluster_are_understood(capsys):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    (line,) = (line for line in TRAIN if "hydra/launcher=" in line)
    words = [word for word in shlex.split(line)[2:] if word != "-m"]
    assert main(["train", "--cfg", "hydra", *(word for word in words if "," not in word)]) == 0
    printed = capsys.readouterr().out
    assert "timeout_min: 60" in printed
    assert "SlurmLauncher" in printed


@pytest.mark.long
def test_commands_about_sweeps_find_the_sweep_that_is_shown(capsys):
    """In the order of the page, with fewer and shorter runs."""
    short = ["-m", "jobs=1", "steps=4", "data.train_size=200", "norm=none,bn", "lr=0.01,0.1", "probe.every=2"]
    assert main(["train", *short, "seed=0,1", "name=lr-grid"]) == 0
    assert main(["train", *short, "seed=0,1", "dropout=0.1", "name=dropout"]) == 0
    capsys.readouterr()
    for line in REPORTS:
        assert main(shlex.split(line)[1:]) == 0, line
        written = re.search(r"\w+\.(tex|md|csv|json)", line)
        assert (written[0] if written else "lr-grid") in capsys.readouterr().out
        assert written is None or Path(written[0]).stat().st_size > 100
    for line in METRICS:
        assert main(shlex.split(line)[1:]) == 0, line
        assert "val/accuracy" in capsys.readouterr().out
    assert Path("runs/lr-grid/report.html").stat().st_size > 10_000
    assert Path("runs.csv").read_text().count("\n") == 9
    assert list(Path("figures").glob("*.png"))


def test_the_two_runs_are_compared_as_shown(capsys):
    for norm in ("none", "bn"):
        short = ["model=mlp", "activation=sigmoid", "data.train_size=200", "steps=4", "probe.every=2"]
        assert main(["train", *short, f"norm={norm}", f"name={norm}"]) == 0
    assert main(shlex.split(PAIR)[1:]) == 0
    assert "B - A" in capsys.readouterr().out
    assert Path("report.html").stat().st_size > 10_000


def test_a_run_is_resumed_as_shown(capsys):
    assert main(["train", "name=mine", "data.train_size=200", "epochs=2"]) == 0
    for line, says in zip(RESUMES, ("completed: 6 steps", "after step 6 of 120"), strict=True):
        assert main(shlex.split(line)[1:]) == 0
        assert says in capsys.readouterr().out
    assert read_status(Path("runs/mine"))["step"] == 120


def test_a_run_is_evaluated_as_shown(capsys):
    assert main(["train", "norm=bn", "name=finished", "data.train_size=200", "steps=3", "probe=off"]) == 0
    for line in EVALS:
        assert main(shlex.split(line)[1:]) == 0, line
        assert "confusion matrix" in capsys.readouterr().out
    assert Path("runs/finished/evaluations.jsonl").read_text().count("\n") == len(EVALS) == 5
    assert Path("confusion.png").is_file()


@pytest.mark.parametrize("line", PRINTS)
def test_commands_that_print(line, capsys):
    assert main(shlex.split(line)[1:]) == 0
    printed = capsys.readouterr().out
    assert "groups" in printed or "C/G,H,W" in printed or "norm=gn" not in line


def test_bench_commands_measure(monkeypatch):
    from normexp.bench import measure

    monkeypatch.setattr(measure, "MIN_BLOCK_SECONDS", 1e-4)
    small = ["model=mlp", "model.width=8", "data=digits", "batch_size=4", "--repeats", "2"]
    for line in (line for line in SHELL if line.startswith("normexp bench")):
        words = shlex.split(line)[1:]
        assert main([*(w for w in words if not w.startswith(("model=", "batch_size="))), *small]) == 0
    assert Path("costs.json").exists()
    assert Path("costs.png").exists()


@pytest.mark.long
def test_claims_are_run_as_shown(monkeypatch, capsys):
    """In the order of the page, with the claims' own rules, but with three tiny runs on digits for each of their arms."""
    from normexp.claims import load, runner, stored
    from normexp.claims.verdict import OUTCOMES
    from normexp.commands import claims

    read = load.read_claim
    asked = []

    def shorter(name, *args, **options):
        claim = read(name, *args, **options)
        asked.append((name, claim.scale, claim.quick))
        if claim.sweep is None:
            return claim
        if name == "warmup":  # as shown, but shorter
            base = tuple("steps=10" if word == "steps=200" else word for word in claim.sweep.base)
            return replace(claim, sweep=replace(claim.sweep, base=base))
        tiny = ("data=digits", "model=mlp", "model.width=4", "steps=2", "data.train_size=100", "probe='off'")
        arms = {arm: (f"lr={i}",) for i, arm in enumerate(claim.sweep.arms, start=1)}
        rule = tuple(replace(c, measure=replace(c.measure, tag="val/accuracy", below=None)) for c in claim.rule)
        few = {axis: dict.fromkeys(values, ()) for axis, values in claim.sweep.axes.items()}
        sweep = replace(claim.sweep, base=tiny, arms=arms, axes=few)
        return replace(claim, sweep=sweep, rule=rule, requires=(), seeds=claim.seeds[:3])

    some = ["axes", "higher-lr", "smoother", "small-batch", "worked-example"]
    for module in (load, claims, stored):
        monkeypatch.setattr(module, "claim_names", lambda folder=None: some + ["warmup"] * (folder is not None))
    monkeypatch.setattr(runner, "read_claim", shorter)
    Path("mine/claim").mkdir(parents=True)
    Path("mine/claim/warmup.yaml").write_text(next(block for block in YAML if "statement:" in block))
    for line in CLAIMS:
        words = shlex.split(line.replace("fashion_mnist", "mnist1d"))[1:]  # which needs no download
        assert main([*words, *(["jobs=2"] if " run " in line else [])]) == 0, line
    assert Path("runs/claims/higher-lr@mnist1d.json").exists()
    assert {("higher-lr", "small", False), ("higher-lr", "small", True), ("small-batch", "full", False)} <= set(asked)
    found = json.loads(Path("runs/claims/warmup.json").read_text())
    assert found["verdict"] in OUTCOMES
    assert found["runs"] >= 30  # more if the best lr is at an end of its range, or if the first seeds can't tell
    page = Path("runs/claims/claims.html").read_text()
    assert "need learning rate warmup" in page
    assert Path("runs/claims/small-batch.full.json").exists()


def test_the_completion_script_is_valid():
    script = subprocess.run(
        [sys.executable, "-m", "normexp", "completion", "bash"], capture_output=True, text=True, check=True
    )
    subprocess.run(["bash", "-c", f"{script.stdout}\ncomplete -p normexp"], check=True, capture_output=True)


def test_shown_mistakes_get_the_shown_answers(capsys):
    (block,) = re.findall(r"```console\n(.*?)```", TEXT, re.S)
    commands = re.findall(r"^\$ normexp (.*)\n(.*)$", block, re.M)
    assert len(commands) > 2
    for command, answer in commands:
        assert main(shlex.split(command)) == 2
        assert capsys.readouterr().err.strip() == answer


def test_make_targets_exist_and_ci_runs_the_two_commands():
    made = [line.split()[1] for line in SHELL if line.startswith("make")]
    assert {"train", "test"} <= set(made)
    script = (ROOT / ".ci" / "run").read_text()
    assert "make train" in script
    assert "make test" in script
    targets = [*made, *re.findall(r"`make ([a-z-]+)", TEXT)]
    assert len(targets) > 10
    subprocess.run(["make", "-n", "-C", str(ROOT), *targets], check=True, capture_output=True)
    listed = subprocess.run(["make", "-s", "-C", str(ROOT)], check=True, capture_output=True, text=True).stdout
    assert all(f"make {target}" in listed for target in targets)


def test_every_shown_command_is_run_by_a_test_here():
    others = [
        line
        for line in SHELL
        if line not in [*TRAIN, *PRINTS, *REPORTS, *METRICS, *RESUMES, *CLAIMS, *EVALS, *PACKAGED, PAIR]
    ]
    assert all(any(line.startswith(start) for start in SHOWN) for line in others)
