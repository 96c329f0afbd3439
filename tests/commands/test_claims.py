"""`normexp claims`, with a small claim that takes seconds."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from normexp.claims import load, runner
from normexp.claims.measure import plan_run
from normexp.cli import main
from tests.commands.own_claim import KEYS, MINE, claims, write
from tests.sweeps.sweeping import stamps, wait_for


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
    assert "mine: bn, ln with 3 seeds to choose values; training 18 runs" in printed
    assert "mine: bn, ln with 2 seeds; training 4 runs" in printed
    assert printed.count("18/18") == printed.count("4/4") == 1
    first = verdict()
    assert re.search(rf"^mine +{first['verdict']}", printed, re.M)
    assert (first["seeds"], first["runs"], first["quick"], first["scale"]) == ([1, 2], 22, False, "small")
    assert (first["group"], first["grade"], first["setup"]["data"]) == ("speed", "B", "digits")  # two seeds
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
    write(MINE.replace("confirm: 0.02", "confirm: 1.0").replace("refute: 0.0", "refute: 0.99"))
    write(
        MINE.replace('">="', '"<="').replace("confirm: 0.02", "confirm: 0.99").replace("refute: 0.0", "refute: 1.0"),
        "easy",
    )
    assert claims("show", "mine") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Outdated. The claim's file has changed: claims run judges it again" in shown
    assert claims("run", "mine", "easy") == 0
    assert [verdict(name)["runs"] for name in ("mine", "easy")] == [22, 22]
    assert [verdict(name)["exploratory"] for name in ("mine", "easy")] == [True, True]  # rules later than their runs
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
    assert len(list((runs() / ".replaced").iterdir())) == 22
    assert verdict()["conditions"] == first["conditions"]

    _check_what_is_shown(first["verdict"], capsys)


def _check_what_is_shown(verdict, capsys):
    capsys.readouterr()
    assert claims("show", "mine") == 0
    shown = capsys.readouterr().out
    assert verdict in shown
    assert "bn gains" in shown
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
    assert 1 <= len(before) < 22
    assert main(["resume", str(runs())]) == 0
    assert verdict()["runs"] == 22
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
    assert "3 of 5 conditions confirmed, 2 refuted" in printed
    assert main(["claims"]) == main(["claims", "show", "worked-example"]) == 0
    shown = capsys.readouterr().out
    assert re.search("^worked-example +confirmed +exact +3 +✓✓✓✓✓✓$", shown, re.M)
    told = "confirmed ✓✓✓✓✓✓ 16 values per channel share a mean. All 6 conditions confirmed."
    assert told in " ".join(shown.split())
    assert {verdict(name)["verdict"] for name in ("worked-example",)} == {"confirmed"}
    assert verdict("unit-moments")["verdict"] == "confirmed in part"
    assert not list(Path("runs/claims").glob("runs-*"))


@pytest.mark.long
def test_a_group_is_listed_and_run(monkeypatch, capsys):
    groups = {name: load.read_claim(name).group for name in load.claim_names()}
    asked = []
    monkeypatch.setattr(runner, "run", lambda request, *_: asked.append(request.names) or runner.Result([], [], None))
    assert main(["claims", "--group", "inference,speed"]) == 0
    assert (
        main(["claims", "run", "--group", "inference,speed"])
        == main(["claims", "run", "exact", "--group", "speed,inference"])
        == 0
    )
    of_groups = [name for name, group in groups.items() if group in ("inference", "speed")]
    assert asked == [of_groups, ["fold", "inference-statistics"]]
    listed = capsys.readouterr().out
    assert {name for name in groups if re.search(f"^{name} ", listed, re.M)} == {*of_groups}


def test_where_and_how_to_run_holds_for_every_run(monkeypatch, capsys):
    write()
    plans = []
    monkeypatch.setattr(runner, "train_runs", lambda plan, *_: plans.append(plan))
    given = ["data_dir=elsewhere", "threads=3", "device=cpu", "checkpoint_every=7", "jobs=2", "runs_dir=there"]
    assert claims("run", "mine", *given) == 1
    assert "18 of 18 runs have no result" in capsys.readouterr().out
    (plan,) = plans
    assert (plan.jobs, plan.folder.parent) == (2, Path("there/claims"))
    for run in plan.grid:
        config = run.config
        assert (config.data_dir, config.threads, config.device, config.checkpoint_every) == ("elsewhere", 3, "cpu", "7")
        assert run.name == config.name
    assert {run.name for run in plan.grid} == {plan_run(load.read_claim("mine", Path("own")), key).name for key in KEYS}


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
        (["run", "faster", "--max-seeds", "4"], "--max-seeds 4: must be an integer >= 5"),
        (["run", "faster", "--max-seeds", "many"], "--max-seeds many: must be an integer >= 5"),
        (["run", "faster", "--max-seeds"], "must be followed by a value"),
        (["run", "faster", "--max-seeds", "30"], "--max-seeds 30: faster can use 20 seeds at most."),
        (["run", "faster", "higher-lr", "--quick", "--max-seeds", "8"], "each of these claims can use 3 seeds at most"),
        (["run", "faster", "lr=0.1"], "a claim fixes the configs of its runs"),
        (["run", "faster", "job=2"], "Did you mean jobs?"),
        (["run", "faster", "jobs=0"], "jobs=0"),
        (["run", "faster", "--config-dir", "nowhere"], "is not a folder"),
        (["report"], "No verdicts in runs/claims yet."),
        (["report", "--html", "no/where.html"], "No verdicts in runs/claims yet."),
        (["run", "../faster"], "Unknown claim ../faster"),
        (["run", "--group", "mechanisms"], "unknown group mechanisms. Did you mean mechanism?"),
        (["--group", "speed,x"], "unknown group x. Groups: speed, stability"),
        (["run", "--group", "speed", "faster"], "--group selects claims, and faster names one"),
        (["run", "exact", "--group", "speed"], "exact --group speed selects none."),
        (
            ["run", "faster", "--data", "kmnst"],
            "not a data set, a folder of images or an .npz file. Did you mean kmnist?",
        ),
        (["run", "faster", "--data", "npz"], "--data npz: not a data set"),
        (["run", "faster", "--data", "mnist"], "faster is on mnist already; leave out --data."),
        (["run", "formula", "--data", "kmnist"], "formula is computed, not trained"),
        (["run", "faster", "data=kmnist"], "--data kmnist runs it on other data."),
        (["run", "faster@kmnist"], "use normexp claims run faster --data DATA."),
        (["show", "faster@kmnist"], "faster@kmnist has no verdict"),
        (["report", "--data", "kmnist"], "--data is for claims run and claims show"),
        (["run", "dropout-conv", "--data", "digits"], "data.test_size=5000: digits has 360 test samples."),
    ],
)
def test_what_can_not_be_understood(words, says, capsys):
    assert main(["claims", *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_a_gpu_that_is_not_there_is_reported_before_anything_is_written(monkeypatch, capsys):
    write()
    monkeypatch.setattr(runner, "visible_gpus", list)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert claims("run", "mine", "device=cuda") == 2
    assert capsys.readouterr().err == "normexp: device=cuda: torch finds no GPU; use device=cpu or device=auto.\n"
    assert not Path("runs").exists()


@pytest.mark.long
def test_a_metric_that_no_run_has_logged_is_reported(capsys):
    one = MINE.replace("seeds: [1, 2]", "seeds: [1]").replace("lr: [0.0001, 0.1, 30.0]", "lr: [0.1]")
    write(one.replace("measure: val/accuracy", "measure: grad_flow/*"))
    assert claims("run", "mine") == 2
    assert "no run has logged grad_flow/*" in capsys.readouterr().err
    assert not Path("runs/claims/mine.json").exists()
