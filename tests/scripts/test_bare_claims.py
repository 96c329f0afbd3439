"""scripts/bare_claims.py, which shares no code with normexp, and the effect of a claim on both sides."""

import json
import re
from dataclasses import replace
from pathlib import Path

import bare_claims
import numpy as np
import pytest
import yaml

from normexp.cli import main
from tests.conftest import ROOT, SHARED_DATA, needs_data

NAME = "small-batch"


def test_it_shares_no_code_with_normexp():
    assert not re.search(r"^\s*(import|from) +normexp", Path(bare_claims.__file__).read_text(encoding="utf-8"), re.M)


@needs_data
def test_networks_learn(monkeypatch, capsys):
    arm = replace(bare_claims.BN, steps=150)
    tiny = bare_claims.Comparison(arm, replace(arm, sharing=None), range(-1, 0), train_size=500, test_size=500, seeds=2)
    monkeypatch.setattr(bare_claims, "COMPARISONS", {"tiny": tiny})
    monkeypatch.setattr(bare_claims, "CHOOSING", (7, 8))
    monkeypatch.setenv("NORMEXP_DATA_DIR", str(SHARED_DATA))
    assert bare_claims.main([]) == 0
    accuracies = [float(found) for found in re.findall(r"test accuracy ([\d.]+)%", capsys.readouterr().out)]
    assert len(accuracies) == 2
    assert min(accuracies) > 70


@pytest.mark.parametrize(("theirs", "agrees"), [(-0.3, True), (-0.15, False), (0.3, False)])
def test_effects_agree_if_chance_explains_the_difference(theirs, agrees):
    spread = np.array([-0.05, 0.0, 0.05])  # a standard error of 0.029
    assert bare_claims.Effect.of(-0.35 + spread).agrees(bare_claims.Effect.of(theirs + spread)) is agrees


@pytest.mark.slow
@needs_data
def test_a_claim_has_the_same_effect(monkeypatch, capsys):
    """The whole way on both sides: runs, choice of the learning rate, effect."""
    claim = yaml.safe_load((ROOT / "configs" / "claim" / f"{NAME}.yaml").read_text(encoding="utf-8"))
    sweep = claim["sweep"]
    sweep["arms"] = {"bn": sweep["arms"]["bn"]}
    sweep["axes"] |= {"net": {"mlp": sweep["axes"]["net"]["mlp"]}, "batch_size": [2, 64]}
    kept = ("kind", "group", "statement", "source", "seeds", "cost")
    part = {**{key: claim[key] for key in kept}, "sweep": sweep, "rule": claim["rule"][:1]}
    Path("own/claim").mkdir(parents=True)
    Path("own/claim/part.yaml").write_text(yaml.safe_dump(part), encoding="utf-8")
    monkeypatch.setenv("NORMEXP_DATA_DIR", str(SHARED_DATA))
    assert main(["claims", "run", "part", "--config-dir", "own", "--max-seeds", "5", "jobs=1"]) == 0
    verdict = Path(f"runs/claims/{NAME}.json")
    Path("runs/claims/part.json").rename(verdict)
    (cell,) = json.loads(verdict.read_text(encoding="utf-8"))["conditions"][0]["cells"]
    assert bare_claims.judged(verdict, bare_claims.COMPARISONS[NAME].cell).mean == pytest.approx(cell["effect"])
    capsys.readouterr()
    assert bare_claims.main([NAME, "--verdicts", "runs/claims"]) == 0, capsys.readouterr().out
    monkeypatch.setattr(bare_claims, "MOMENTUM", 0.9)  # a difference that must be noticed
    assert bare_claims.main([NAME, "--verdicts", "runs/claims"]) == 1, capsys.readouterr().out
