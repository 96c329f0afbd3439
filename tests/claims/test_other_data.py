"""Claims on other data: the same networks, rule and seeds, as a verdict of their own."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from normexp.claims import stored
from normexp.claims.load import claim_names, read_claim
from normexp.claims.other_data import find_data, label, on_data
from normexp.commands.claims import _selected, parse
from normexp.config import ConfigError
from tests.claims.test_runner import MINE as GUESSES
from tests.claims.test_runner import Trainer, run
from tests.commands.own_claim import MINE as LEARNS
from tests.commands.own_claim import claims, write

MINE = GUESSES.replace("seeds: 1-12", "seeds: 1-5")


def base(claim):
    return dict(override.split("=", 1) for override in claim.sweep.base)


def test_only_the_data_changes():
    claim = read_claim("faster")
    moved = on_data(claim, "fashion_mnist")
    assert base(moved) == base(claim) | {"data": "fashion_mnist"}
    assert (moved.name, moved.seeds, moved.rule) == ("faster@fashion_mnist", claim.seeds, claim.rule)
    assert (moved.sweep.arms, moved.sweep.axes) == (claim.sweep.arms, claim.sweep.axes)
    assert len({claim.rule_hash, moved.rule_hash, on_data(claim, "kmnist").rule_hash}) == 3


def test_runs_are_augmented_as_usual_only_if_they_were_before():
    assert base(on_data(read_claim("faster"), "cifar10"))["data.augment"] == "[]"
    assert "data.augment" not in base(on_data(read_claim("ws-gn"), "mnist"))
    assert base(on_data(read_claim("gap-head"), "cifar100"))["data.augment"] == "[]"
    assert "data.augment" not in base(on_data(read_claim("norm-batch", scale="full"), "mnist"))


def test_every_experiment_can_be_on_other_data():
    for name in claim_names():
        for scale in ("small", "full"):
            claim = read_claim(name, scale=scale)
            if claim.sweep:
                assert base(on_data(claim, "svhn"))["data"] == "svhn"


def test_a_claim_that_compares_data_sets_or_sets_a_key_of_its_own_data_is_refused(tmp_path):
    (tmp_path / "claim").mkdir()

    def own(text):
        (tmp_path / "claim" / "own.yaml").write_text(text, encoding="utf-8")
        return on_data(read_claim("own", tmp_path), "mnist")

    assert own(LEARNS).name == "own@mnist"
    for old, new, says in (
        ("lr: [0.0001, 0.1, 30.0]", "lr: [0.1], data: [digits, kmnist]", "compares data sets"),
        ("base: [", "base: [data=emnist, data.split=digits, ", "sets data.split, which data=mnist doesn't have"),
    ):
        with pytest.raises(ConfigError, match=says):
            own(LEARNS.replace(old, new).replace("    over: lr\n", ""))


def test_a_set_leaves_out_claims_whose_runs_are_impossible_on_the_data():
    names, left_out = _selected(parse(["run", "--group", "speed,inference", "--data", "digits", "--quick"]))
    assert {"faster", "higher-lr"} <= {*names}
    assert "no-eval" not in names
    (why,) = (sentence for sentence in left_out if "no-eval@digits" in sentence)
    assert why.startswith(
        "Left out: no-eval@digits can't be run: data.train_size=6000: digits has 1365 training samples"
    )
    _, left_out = _selected(parse(["run", "--group", "speed,inference", "--data", "mnist1d", "--quick"]))
    assert any("adapt@mnist1d can't be run: " in sentence for sentence in left_out)
    with pytest.raises(ConfigError, match=r"selects none\. Left out: [a-z-]+ is on mnist already"):
        _selected(parse(["run", "--group", "inference", "--data", "mnist", "--quick"]))


def test_two_folders_of_the_same_name_are_two_data_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for parent in ("a", "b"):
        Path(parent, "It's mine, (1)").mkdir(parents=True)
    first, second = (find_data(f"{parent}/It's mine, (1)") for parent in ("a", "b"))
    assert first == str(tmp_path / "a" / "It's mine, (1)")
    assert label(first) != label(second)
    assert re.fullmatch("it-s-mine-1-[0-9a-f]{4}", label(first))
    assert label("fashion_mnist") == "fashion_mnist"
    for nothing in ("", "folder", "nowhere.npz", "a/nothing"):
        with pytest.raises(ConfigError, match="not a data set, a folder of images"):
            find_data(nothing)


@pytest.fixture
def trainer(monkeypatch):
    monkeypatch.setattr("normexp.claims.grade.SEEN", "seen.jsonl")
    return Trainer(monkeypatch)


@pytest.fixture
def arrays():
    """A file of one's own, whose path has what Hydra's grammar reserves."""
    labels = np.arange(300) % 3
    images = np.random.default_rng(1).integers(99, size=(300, 6, 6)) + 50 * labels[:, None, None]
    Path("my, {data}").mkdir()
    path = Path("my, {data}/It's mine.npz").resolve()
    np.savez(path, x_train=images, y_train=labels, x_test=images[:60], y_test=labels[:60])
    return str(path)


def test_a_verdict_on_other_data_stands_after_the_claims_own(trainer, arrays, capsys):
    write(MINE)
    (verdict,) = run(data=arrays).verdicts
    name = f"mine@{label(arrays)}"
    assert verdict.claim == name
    assert {path.name for path in Path("runs/claims").glob("*.json")} == {f"{name}.json"}
    rows, _ = stored.read_all(Path("runs/claims"), Path("own"), quick=False)
    none, known = (judged for claim, judged in rows if claim.name == "mine")
    assert (none, known.claim) == (None, name)

    before = len(trainer.rounds)
    assert claims("run", "mine", "--data", arrays) == 0
    assert "already judged" in capsys.readouterr().out
    assert len(trainer.rounds) == before

    assert claims("show", name) == claims("report") == 0
    shown = capsys.readouterr().out
    assert "An untrained network guesses (on It's mine.npz)." in shown
    (command,) = re.findall("rerun +(normexp .*)", shown)
    assert shlex.split(command) == ["normexp", *["claims", "run", "mine", "--data"], arrays, "--config-dir", "own"]
    page = Path("runs/claims/claims.html").read_text(encoding="utf-8")
    assert page.count('id="claim-mine') == page.count('href="#claim-mine') == page.count(f"<span>{name}</span>") == 1

    # a file that pretends to be a verdict on other data names no folder, and is left out
    text = Path(f"runs/claims/{name}.json").read_text(encoding="utf-8")
    Path(f"runs/claims/mine@{label('../evil')}.json").write_text(text.replace(arrays, "../evil"), encoding="utf-8")
    assert stored.other_data(Path("runs/claims"), "mine") == [arrays]


@pytest.mark.long
def test_a_rule_is_as_old_as_its_first_runs_on_that_data(trainer, arrays):
    """Rules that exist before the data is seen are not exploratory, though runs are shared; later ones are."""
    other_rule = MINE.replace("refute: -2", "refute: -3")
    write(MINE, "mine")
    write(other_rule, "twin")
    assert not run().verdicts[0].exploratory
    for name in ("mine", "twin"):
        assert not run(names=[name], data=arrays).verdicts[0].exploratory
    write(other_rule.replace("refute: -3", "refute: -4"), "twin")
    assert run(names=["twin"], data=arrays).verdicts[0].exploratory
