"""`normexp claims`, with a small claim that takes seconds."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from normexp.claims import load, runner
from normexp.claims.measure import plan_runs
from normexp.claims.runner import check_overrides
from normexp.cli import main
from tests.conftest import compose
from tests.sweeps.sweeping import stamps, wait_for

MINE = """\
kind: experiment
statement: Batch norm learns digits faster than layer norm.
source: somebody on the web
seeds: [1, 2]
sweep:
  base: [model=mlp, model.width=16, data.train_size=200, steps=10, eval_every=5, "probe='off'", optim.momentum=0.0]
  arms: {bn: [norm=bn], ln: [norm=ln]}
  axes: {lr: [0.01, 0.1]}
rule:
  - what: validation accuracy, bn minus ln, each at its best lr
    measure: val/accuracy
    over: lr
    compare: [bn, ln]
    as: difference
    is: ">="
    threshold: 0.0
quick:
  axes: {lr: [0.1]}
cost: seconds
"""


def write(text=MINE, name="mine", folder="own"):
    path = Path(folder) / "claim" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def claims(*words):
    return main(["claims", *words, "--config-dir", "own"])


def verdict(name="mine"):
    return json.loads(Path(f"runs/claims/{name}.json").read_text(encoding="utf-8"))


def runs():
    (folder,) = Path("runs/claims").glob("runs-*")
    return folder


@pytest.mark.long
def test_a_claim_of_ones_own_is_run_judged_shown_and_kept(capsys):
    write()
    assert claims() == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in load.claim_names())
    assert re.search(r"mine +not judged", listed)
    assert not Path("runs").exists()

    assert claims("run", "mine", "jobs=2") == 0
    printed = capsys.readouterr().out
    assert printed.count("8/8") == 1
    first = verdict()
    assert re.search(rf"^mine +{first['verdict']}", printed, re.M)
    assert (first["seeds"], first["runs"], first["quick"], first["scale"]) == ([1, 2], 8, False, "small")
    assert first["versions"]["torch"]
    assert first["folder"] == str(runs())
    (cell,) = first["conditions"][0]["cells"]
    assert cell["low"] <= cell["effect"] <= cell["high"]
    for arm, values in cell["values"].items():  # the numbers are those of the runs, at the chosen lr, seed by seed
        places = [next(runs().glob(f"norm={arm}_lr={cell['chosen'][arm]['lr']}_*_seed={seed}")) for seed in (1, 2)]
        assert values == [json.loads((p / "status.json").read_text())["metrics"]["val/accuracy"] for p in places]

    # the same command again does nothing
    before = stamps(runs())
    assert claims("run", "mine") == 0
    assert "already judged" in capsys.readouterr().out
    assert (stamps(runs()), verdict()) == (before, first)

    # with another rule it is judged anew, and what another claim asks for is there: no run is trained
    write(MINE.replace("threshold: 0.0", "threshold: 5.0"))
    write(MINE.replace('">="', '"<="').replace("threshold: 0.0", "threshold: 5.0"), "easy")
    assert claims("show", "mine") == 0
    assert "Outdated: the rule or the code has changed" in capsys.readouterr().out
    assert claims("run", "mine", "easy") == 0
    assert [verdict(name)["runs"] for name in ("mine", "easy")] == [8, 8]
    assert (verdict("mine")["verdict"], verdict("easy")["verdict"]) == ("refuted", "confirmed")
    assert stamps(runs()) == before

    # a run that failed is trained again, and a quick verdict has a file of its own
    write()
    broken = next(runs().glob("*_lr=0.1_*_seed=1"))
    status = json.loads((broken / "status.json").read_text())
    (broken / "status.json").write_text(json.dumps({**status, "state": "failed"}))
    assert claims("run", "mine", "--quick") == 0
    quick = json.loads(Path("runs/claims/mine.quick.json").read_text())
    assert (quick["quick"], quick["runs"]) == (True, 4)
    assert "quick" in capsys.readouterr().out
    assert [name for name, stamp in stamps(runs()).items() if stamp != before[name]] == [broken.name]

    # asked to, it trains all of them again, each once, though two claims share them
    assert claims("run", "mine", "easy", "--again", "jobs=2") == 0
    assert all(stamp > before[name] for name, stamp in stamps(runs()).items())
    assert len(list((runs() / ".replaced").iterdir())) == 8
    assert verdict()["conditions"] == first["conditions"]

    _check_what_is_shown(first["verdict"], capsys)


def _check_what_is_shown(verdict, capsys):
    capsys.readouterr()
    assert claims("show", "mine") == 0
    shown = capsys.readouterr().out
    assert verdict in shown
    assert "somebody on the web" in shown
    assert main(["report", str(runs())]) == 0
    assert claims("report") == 0
    page = Path("runs/claims/claims.html").read_text(encoding="utf-8")
    assert "Batch norm learns digits faster than layer norm." in page
    assert "<svg" in page
    assert claims("report", "--html", "runs/page.html") == 0
    assert Path("runs/page.html").exists()


@pytest.mark.slow
def test_after_ctrl_c_the_same_command_goes_on():
    write(MINE.replace("steps=10,", "steps=300,"))
    words = [sys.executable, "-m", "normexp", "claims", "run", "mine", "--config-dir", "own", "jobs=1"]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it sets a signal, nothing else
    )

    def done():
        found = Path("runs").glob("claims/*/*/status.json")
        return {path: path.stat().st_mtime_ns for path in found if '"completed"' in path.read_text()}

    wait_for(done)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume    normexp claims run mine --config-dir own jobs=1" in printed
    assert not Path("runs/claims/mine.json").exists()
    before = done()
    assert 1 <= len(before) < 8
    assert main(["resume", str(runs())]) == 0
    assert verdict()["runs"] == 8
    assert all(done()[path] == stamp for path, stamp in before.items())


def test_exact_claims_are_computed(capsys):
    assert main(["claims", "show", "worked-example"]) == 0
    shown = capsys.readouterr().out
    assert "not judged yet; computed now: confirmed" in shown
    assert shown.index("channel 3") < shown.index("6 conditions;") < shown.index("normexp claims run worked-example")
    assert not Path("runs").exists()
    assert main(["claims", "run", "worked-example", "unit-moments"]) == 0
    printed = capsys.readouterr().out
    assert "All 6 conditions confirmed." in printed
    assert "2 of 5 conditions refuted, 3 confirmed" in printed
    assert main(["claims"]) == main(["claims", "show", "worked-example"]) == 0
    shown = capsys.readouterr().out
    assert re.search("^worked-example +confirmed +under a second$", shown, re.M)
    told = "momentum 0.1 confirmed Values per channel that share a mean: 16; rule: = 16. All 6 conditions confirmed."
    assert told in " ".join(shown.split())
    assert {verdict(name)["verdict"] for name in ("worked-example",)} == {"confirmed"}
    assert verdict("unit-moments")["verdict"] == "refuted"
    assert not list(Path("runs/claims").glob("runs-*"))


def test_where_and_how_to_run_holds_for_every_run(monkeypatch, capsys):
    write()
    plans = []
    monkeypatch.setattr(runner, "train_runs", lambda plan, *_: plans.append(plan))
    given = ["data_dir=elsewhere", "threads=3", "device=cpu", "checkpoint_every=7", "jobs=2", "runs_dir=there"]
    assert claims("run", "mine", *given) == 1
    assert "8 of 8 runs have no result" in capsys.readouterr().out
    (plan,) = plans
    assert (plan.jobs, plan.folder.parent) == (2, Path("there/claims"))
    for run in plan.grid:
        config = run.config
        assert (config.data_dir, config.threads, config.device, config.checkpoint_every) == ("elsewhere", 3, "cpu", "7")
        assert run.name == config.name
    assert [run.name for run in plan.grid] == [
        run.name for run in plan_runs(load.read_claim("mine", Path("own"))).values()
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "higher-ls"], "Unknown claim higher-ls. Did you mean higher-lr?"),
        (["shw"], "not shw. Did you mean show?"),
        (["higher-lr"], "Try normexp claims show higher-lr."),
        (["run"], "takes the names of claims"),
        (["show"], "takes the name of one claim"),
        (["run", "faster", "--qick"], "Unknown flag --qick. Did you mean --quick?"),
        (["run", "faster", "--scale", "big"], "--scale is one of small, full"),
        (["run", "faster", "--scale"], "must be followed by a value"),
        (["run", "faster", "--quick=3"], "--quick takes no value."),
        (["run", "faster", "lr=0.1"], "a claim fixes the configs of its runs"),
        (["run", "faster", "job=2"], "Did you mean jobs?"),
        (["run", "faster", "jobs=0"], "jobs=0"),
        (["run", "faster", "--config-dir", "nowhere"], "is not a folder"),
        (["report"], "No verdicts in runs/claims yet."),
        (["report", "--html", "no/where.html"], "No verdicts in runs/claims yet."),
        (["run", "../faster"], "Unknown claim ../faster"),
    ],
)
def test_what_can_not_be_understood(words, says, capsys):
    assert main(["claims", *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind: experiment", "kind: experimnt", "Did you mean experiment?"),
        ("statement:", "statment:", "Unknown key statment. Did you mean statement?"),
        ("seeds: [1, 2]", "seeds: []", "a list of distinct integers"),
        ("seeds: [1, 2]", "seeds: [1, 1]", "a list of distinct integers"),
        ("[norm=ln]", "[norm=lm]", "sweep.arms.ln: norm=lm: norm is one of"),
        ("[norm=ln]", "norm=ln", "a list of overrides"),
        ("[norm=ln]", "[norm=in]", "after a linear layer"),
        (
            "optim.momentum=0.0",
            "optim.momntum=0.0",
            "sweep.base: Unknown key optim.momntum. Did you mean optim.momentum?",
        ),
        ("optim.momentum=0.0", "seed=1", "list their seeds under seeds"),
        ("optim.momentum=0.0", "'lr=0.1,0.2'", "several values"),
        ("compare: [bn, ln]", "compare: [bn, lm]", "unknown arm lm. Known: bn, ln."),
        ("compare: [bn, ln]", "compare: [bn]", "needs 2 different arms"),
        ("over: lr", "over: rl", "unknown axis rl"),
        ("as: difference", "as: diference", "Did you mean difference?"),
        ("threshold: 0.0", "threshold: high", "threshold must be a number"),
        ("threshold: 0.0", "threshold: 0.0\n    choose: test/accuracy", "choose is one of val/accuracy"),
        (
            "threshold: 0.0",
            "threshold: 0.0\n    take: decades",
            "working (the lowest measure at which a value works) and take",
        ),
        ("threshold: 0.0", "threshold: 0.0\n    contrast: {lr: [0.1, 0.1]}", "different axes"),
        ("axes: {lr: [0.1]}", "axes: {lrr: [0.1]}", "unknown axis lrr"),
        ("kind: experiment", "kind: [", "can't be read"),
        ("kind: experiment", "kind: exact", "has no sweep"),
        ("threshold: 0.0", "threshold: 0.0\n    contrast: {}", "contrast takes an axis"),
        ("compare: [bn, ln]", "compare: [[bn], ln]", "must be a number, string, boolean or null"),
        ("threshold: 0.0", "threshold: 0.0\n    with: 3", "with must be a mapping"),
        pytest.param(MINE, "5", "mine.yaml: must be a mapping", id="number"),
        ("[norm=ln]", "[norm=bn]", "two of these arms have the same overrides"),
        ("[norm=ln]", "[norm=ln, lr=3]", "lr is already set by the axis lr"),
        ("[0.01, 0.1]", "[0.1, 0.1]", "duplicate value"),
        ("measure: val/accuracy", "measure: test/accuracy\n    take: max", "would select on the test set"),
        ("seeds: [1, 2]", "seeds: &a [1, 2]\nexplanation: *a", "aliases such as *a are not allowed"),
    ],
)
def test_a_file_that_is_not_as_it_should_be(old, new, says, capsys):
    assert MINE.count(old) >= 1
    write(MINE.replace(old, new, 1))
    code = claims("run", "mine", "jobs=2")
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert code == 2
    assert not Path("runs").exists()


@pytest.mark.long
def test_a_number_that_no_run_has_is_told_with_the_nearest(capsys):
    one = MINE.replace("seeds: [1, 2]", "seeds: [1]").replace("lr: [0.01, 0.1]", "lr: [0.1]")
    write(one.replace("measure: val/accuracy", "measure: val/acuracy"))
    assert claims("run", "mine") == 2
    assert "no run has logged val/acuracy. Did you mean val/accuracy?" in capsys.readouterr().err
    assert not Path("runs/claims/mine.json").exists()


def test_a_name_that_is_taken_is_refused(capsys):
    write(name="faster")
    assert claims("run", "faster") == 2
    assert "rename the file" in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["small", pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [n for n in load.claim_names() if load.read_claim(n).kind == "experiment"])
def test_the_runs_of_every_shipped_claim_can_be_trained(name, scale):
    """Check each arm and each value of each axis at least once: composing takes 0.1 s."""
    claim = load.read_claim(name, scale=scale)
    check_overrides(claim, None)
    arms, axes, runs = list(claim.sweep.arms), claim.sweep.axes, plan_runs(claim)
    for i in range(max(len(arms), *map(len, axes.values())) if axes else len(arms)):
        place = tuple((axis, list(values)[i % len(values)]) for axis, values in axes.items())
        compose(*runs[arms[i % len(arms)], place, claim.seeds[0]].overrides)


def test_every_experiment_names_its_own_full_set_up():
    for name in load.claim_names():
        if load.read_claim(name).kind == "experiment":
            small, full = (plan_runs(load.read_claim(name, scale=scale)) for scale in ("small", "full"))
            assert {run.name for run in small.values()} != {run.name for run in full.values()}
