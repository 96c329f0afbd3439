"""Verdicts are stale if the rule or the code that their numbers come from has changed."""

import re
import shutil
from pathlib import Path

from normexp.claims import fingerprint
from normexp.claims import headline as headlines
from normexp.claims.judge import judge
from normexp.claims.load import read_claim
from normexp.claims.runner import build_verdict
from normexp.claims.verdict import FORMAT, Verdict
from tests.commands.own_claim import MINE


def test_verdicts_of_a_version_whose_numbers_differ_are_stale(monkeypatch):
    claim, now = read_claim("higher-lr"), fingerprint.code_fingerprint()
    judging = fingerprint.judging_fingerprint()
    content = {"format": FORMAT, "conditions": [], "rule": claim.fingerprint, "code": now, "judging": judging}
    verdict = Verdict.from_json(content)
    assert fingerprint.is_fresh(verdict, claim, now)
    monkeypatch.setattr(fingerprint, "NUMERICS", fingerprint.NUMERICS + 1)
    assert not fingerprint.is_fresh(verdict, claim, fingerprint.code_fingerprint())


def test_an_outdated_verdict_says_what_running_it_again_takes():
    claim, judging = read_claim("higher-lr"), fingerprint.judging_fingerprint()

    def reason(**old):
        content = {"format": FORMAT, "conditions": [], "rule": claim.fingerprint, "code": "now", "judging": judging}
        return fingerprint.outdated_by(Verdict.from_json({**content, **old}), claim, "now")

    assert reason() == ""
    assert "Only the code that judges has changed" in reason(judging="old")
    assert "trains the runs that are missing" in reason(rule="old", judging="old")
    assert "trains them again" in reason(code="old", rule="old", judging="old")


def test_a_sentence_makes_no_verdict_stale_and_a_threshold_does(tmp_path):
    (tmp_path / "claim").mkdir()

    def own(text):
        (tmp_path / "claim" / "own.yaml").write_text(text, encoding="utf-8")
        return read_claim("own", tmp_path)

    before = own(MINE)
    reworded = own(
        re.sub(r"(what|statement|source|cost): ", r"\1: other words ", MINE)
        + "explanation: One more line.\nbackground: A line.\nwould_change: Another.\n"
    )
    assert reworded.fingerprint == before.fingerprint
    texts = (reworded.statement, reworded.source, reworded.cost, reworded.rule[0].what)
    assert all(text.startswith("other words ") for text in texts)
    assert own(MINE.replace("confirm: 0.02", "confirm: 0.03")).fingerprint != before.fingerprint

    judgement = judge(before, lambda *_: (0.5, 0.5))
    verdict = build_verdict(before, judgement, code="", seconds=1.0, config_dir=None)
    again = headlines.reworded(verdict, reworded)
    assert (again.statement, again.conditions[0].what) == (reworded.statement, reworded.rule[0].what)


def test_a_docstring_or_a_name_makes_no_verdict_stale_and_a_number_does(tmp_path, monkeypatch):
    package = tmp_path / "normexp"
    shutil.copytree(Path(fingerprint.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "__file__", str(package / "claims" / "fingerprint.py"))
    before = fingerprint.code_fingerprint(), fingerprint.judging_fingerprint()

    norm = package / "norms" / "gn.py"
    norm.write_text(norm.read_text().replace('"""', '"""In other words: ', 1) + "# a comment\n")
    norm.rename(norm.with_name("group_norm.py"))
    error = package / "config" / "reader.py"
    error.write_text(error.read_text() + "def f():\n    raise ValueError('a message')\n")
    with_error = fingerprint.code_fingerprint()
    error.write_text(error.read_text().replace("a message", "other words"))
    assert fingerprint.code_fingerprint() == with_error
    error.write_text(error.read_text().replace("def f():\n    raise ValueError('other words')\n", ""))
    terminal = package / "claims" / "terminal.py"
    terminal.write_text(terminal.read_text() + "x = 1\n")
    own = tmp_path / "own" / "norm" / "slow.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("eps: 1e-5  # a comment\n")
    with_own = fingerprint.code_fingerprint(tmp_path / "own")
    own.write_text("# another comment\neps: 1e-5\n")
    assert fingerprint.code_fingerprint(tmp_path / "own") == with_own
    own.write_text("eps: 1e-6\n")
    assert fingerprint.code_fingerprint(tmp_path / "own") != with_own
    assert (fingerprint.code_fingerprint(), fingerprint.judging_fingerprint()) == before

    order = package / "data" / "batches.py"
    order.write_text(order.read_text() + "x = 1\n")
    assert fingerprint.code_fingerprint() != before[0]
    judge = package / "claims" / "judge.py"
    judge.write_text(judge.read_text() + "x = 1\n")
    assert fingerprint.judging_fingerprint() != before[1]


def test_the_code_of_an_exact_claim_concerns_no_other_claim(tmp_path, monkeypatch):
    package = tmp_path / "normexp"
    shutil.copytree(Path(fingerprint.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "__file__", str(package / "claims" / "fingerprint.py"))
    claims = [read_claim(name) for name in ("higher-lr", "scale-law", "formula")]

    def changed(path):
        before = [fingerprint.code_fingerprint(None, claim) for claim in claims]
        file = package / "claims" / path
        file.write_text((file.read_text() if file.exists() else "") + "x = 1\n")
        return [fingerprint.code_fingerprint(None, claim) != old for claim, old in zip(claims, before, strict=True)]

    assert fingerprint.code_fingerprint(None, claims[0]) == fingerprint.code_fingerprint()
    assert changed("exact/new_claim.py") == changed("figures.py") == changed("page.py") == [False, False, False]
    assert changed("exact/scale_law.py") == [False, True, False]
    assert changed("exact/base.py") == [False, True, True]
    assert changed("../norms/bn.py") == [True, True, True]


def test_a_quick_run_of_a_file_that_says_nothing_about_it_has_three_seeds(tmp_path):
    (tmp_path / "claim").mkdir()
    text = re.sub(r"(?ms)^quick:.*?(?=^\w)", "", MINE)
    (tmp_path / "claim" / "mine.yaml").write_text(
        re.sub("^seeds: .*$", "seeds: 1-20", text, flags=re.M), encoding="utf-8"
    )
    full, quick = (read_claim("mine", tmp_path, quick=quick) for quick in (False, True))
    assert (quick.quick, quick.seeds, quick.looks) == (True, full.seeds[:3], (3,))
    assert (quick.rule, quick.sweep) == (full.rule, full.sweep)
