"""HTML page of claims, from synthetic verdicts: every kind, with missing values, and malicious ones."""

import copy
import io
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from normexp import html
from normexp.claims import page, terminal
from normexp.claims.verdict import OUTCOMES, Verdict
from tests.claims.verdicts import a_cell, a_condition, a_series, a_verdict, an_exact, thirty_cells
from tests.report.test_page import EVIL, Page


def written(verdicts, pending=(), file="claims.html"):
    """Write the page. Returns its HTML, and what a browser sees of it."""
    page.write(Path(file), [Verdict.from_json(verdict) for verdict in verdicts], pending)
    text = Path(file).read_text(encoding="utf-8")
    seen = Page(text)
    assert seen.open == []
    return text, seen


def test_the_numbers_of_an_exact_claim_come_before_its_rule():
    text, _ = written([an_exact()])
    assert text.index("1.2247") < text.index("largest difference from torch") < text.index("How it was run")


def test_a_verdict_is_written_with_the_keys_it_was_read_from():
    content = a_verdict(tables=an_exact()["tables"])
    written_again = Verdict.from_json(content).to_json()
    assert {key: written_again[key] for key in content if key != "conditions"} == {
        key: value for key, value in content.items() if key != "conditions"
    }
    (condition,), (cell,) = content["conditions"], content["conditions"][0]["cells"]
    (again,) = written_again["conditions"]
    assert again.items() >= (condition | {"cells": [cell]}).items()


def test_a_card_for_each_claim_and_a_row_that_leads_to_it():
    verdicts = [
        a_verdict(),
        a_verdict("position", "undecided", quick=True, command="normexp claims run position --quick", group="architecture"),
        a_verdict("faster", "refuted", exploratory=True, grade="B", lacks=["the rule changed after its seeds were seen"]),
        a_verdict("affine", "not comparable", conditions=[a_condition(a_cell(None, None, None, verdict="not comparable"))]),
        an_exact(),
    ]  # fmt: skip
    _, seen = written(verdicts, ["rnn", "style"])
    plain = {text.replace("\u2212", "-") for text in seen.texts}
    cards = {attributes["id"]: attributes["class"] for tag, attributes in seen.elements if tag == "article"}
    assert list(cards.values()) == [
        "card confirmed", "card refuted", "card not-comparable", "card confirmed", "card undecided"
    ]  # fmt: skip
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = {link[1:] for link in seen.links() if link.startswith("#")}
    assert set(cards) <= inner <= set(ids)
    parts = [attributes["id"] for tag, attributes in seen.elements if tag == "section"]
    assert parts == ["summary", "speed", "mechanism", "architecture", "pending", "reading"]
    errors = "Expect at most one false verdict among the 2 decided experiments"
    overview = f"5 claims judged, 2026-11-21; 2 claims not judged yet. {errors}"
    assert any(text.startswith(overview) for text in seen.texts)
    assert [attributes["class"] for tag, attributes in seen.elements if tag == "li" and "class" in attributes] == [
        "confirmed", "confirmed-in-part", "smaller-than-claimed", "refuted", "undecided", "not-comparable"
    ]  # fmt: skip
    warned = [attributes for _, attributes in seen.elements if "warned" in attributes.get("class", "")]
    assert len(warned) == 4  # quick and exploratory, each in its row and on its card
    assert {"bn gains +24.1 points [20.3, 27.9].", "2.1e-15 [8e-16, 2.1e-15]", "rule: ≤ 1e-12"} <= plain
    assert {"B: the rule changed after its seeds were seen", "same sign with probability 86 %", "exact"} <= plain
    assert {"normexp claims run position --quick", "  B\n +--+\n |  | C", "One channel", "1.2247", "gone"} <= set(
        seen.texts
    )
    assert sum(tag == "svg" for tag, _ in seen.elements) == 4  # none for the exact one
    assert {"rnn", "style"} <= set(seen.texts)


def test_it_is_one_file_that_needs_no_network_and_links_to_the_runs():
    Path("elsewhere").mkdir()
    text, seen = written([a_verdict(), an_exact(folder=None)], file="elsewhere/page.html")
    assert {tag for tag, _ in seen.elements} & {"link", "iframe", "object", "base", "img"} == set()
    for tag, attributes in seen.elements:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name, "#")
            assert address.startswith("#") or tag == "a", address
            assert "://" not in address
    assert "url(" not in text.replace("url(#", "")
    ids = {attributes["id"] for _, attributes in seen.elements if "id" in attributes}
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= ids  # clip paths and hatches
    assert "@import" not in text
    assert [link for link in seen.links() if not link.startswith("#")] == ["../runs/claims/faster/"]


def test_text_from_files_stays_text():
    evil = EVIL + "\x1b[2J\ud800\x00"
    cell = a_cell(cell={evil: evil}, values={evil: [0.5, None]}, chosen={evil: {evil: evil}}, note=evil, level=0.9)
    cell |= {"bound": evil, "censored": {evil: [evil, evil]}, "at_end": {evil: evil}, "looks": [{"n": evil}, {"n": 5}]}
    hostile = {
        "statement": evil, "source": evil, "explanation": evil, "because": evil, "scale": evil, "drawing": evil,
        "background": evil, "would_change": evil, "data": evil,
        "conditions": [
            a_condition(cell, what=evil, says=evil + "{effect}", measure=evil, arms=[evil, "bn"], over=evil, **{"is": evil})
        ],
        "series": [a_series(title=evil, x=evil, y=evil, arms={evil: [[evil, [0.1]], [None, [None]]], "bn": [[evil, [1e200]]]})],
        "tables": [{"title": evil, "columns": [evil], "rows": [[evil]]}],
        "folder": f"javascript:{evil}".replace("\x00", ""), "command": evil, "made": evil, "versions": {evil: evil},
        "rule": evil, "code": evil, "grade": evil, "lacks": [evil], "setup": {evil: evil, "data": evil}, "group": evil,
    }  # fmt: skip
    verdicts = [a_verdict(evil, **hostile), a_verdict(evil, verdict=evil, **hostile), an_exact(evil, **hostile)]
    text, seen = written(verdicts, [evil])
    assert sum(tag == "script" for tag, _ in seen.elements) == 1
    assert not any(tag == "img" for tag, _ in seen.elements)
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    assert not any(unquote(link).startswith("javascript") and ":" in link for link in seen.links())
    assert "\x1b" not in text and "\x00" not in text
    assert text.count("&lt;script&gt;") > 20


def test_words_in_backticks_are_code():
    text, _ = written([a_verdict(explanation="Use `a<b>` here.")], [])
    assert "<p>Use <code>a&lt;b&gt;</code> here.</p>" in text


def test_missing_values():
    """Every optional value is null, and a verdict has nothing but its name."""
    nothing = dict.fromkeys(a_cell())
    cells = [nothing | {"verdict": "not comparable"}, a_cell(values={"bn": [None, None]}), a_cell(1e300, -1e300, 1e300)]
    conditions = [
        a_condition(*cells, confirm=None, refute=None, center=None, says=None, measure=None, arms=None),
        a_condition(*cells, confirm=0.0, **{"is": "within"}),
        a_condition(what="no cells") | {"cells": []},
    ]
    arms = {"none": [[0, [None, None]], [0.1, [None, 0.2]]], "bn": [[0.1, []], [10**400, [0.3]]]}
    bare = dict.fromkeys(a_verdict()) | {"format": 2, "claim": "bare", "verdict": "undecided", "conditions": []}
    for kind in ("experiment", "exact"):
        full = a_verdict(kind=kind, conditions=conditions, series=[a_series(arms=arms), a_series(arms={})], seeds=None)
        _, seen = written([full, bare | {"kind": kind}])
        assert sum(tag == "article" for tag, _ in seen.elements) == 2
    _, seen = written([])
    assert "0 claims judged." in seen.texts


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["exact", "quick", "lr"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_values_of_unexpected_types_are_left_out(data):
    """Values at any depth of a verdict are replaced by others."""
    verdict = copy.deepcopy(
        a_verdict(tables=an_exact()["tables"], kind=data.draw(st.sampled_from(["experiment", "exact"])))
    )
    locations = list(_locations(verdict))
    for _ in range(data.draw(st.integers(1, 4))):
        inside, key = data.draw(st.sampled_from(locations))
        inside[key] = data.draw(JSON)
    content, verdict = verdict, Verdict.from_json(verdict)
    if verdict is None:  # not read as a verdict
        return
    _, seen = written([content])
    assert sum(tag == "article" for tag, _ in seen.elements) == 1
    assert Verdict.from_json(verdict.to_json()) == verdict
    console = Console(file=io.StringIO(), width=80)
    terminal.summary(console, [verdict])
    terminal.evidence(console, verdict)


def _locations(of):
    """Every container inside, with all of its keys."""
    for key, item in of.items() if isinstance(of, dict) else enumerate(of):
        yield of, key
        if isinstance(item, dict | list):
            yield from _locations(item)


def test_many_claims_stay_one_page_of_reasonable_size():
    text, _ = written([*(a_verdict(f"c{i}", conditions=[a_condition(*thirty_cells())]) for i in range(4)), an_exact()])
    assert len(text) < 4 * 120_000


def test_a_strip_has_a_sign_for_each_cell_with_its_effect():
    cells = [a_cell(cell={"activation": "relu"}), a_cell(verdict="refuted", cell={"activation": "tanh"})]
    _, seen = written([a_verdict(verdict="confirmed in part", conditions=[a_condition(*cells)])])
    signs = [(attributes["class"], attributes["title"]) for tag, attributes in seen.elements if tag == "i"]
    expected = [
        ("confirmed", "relu: confirmed, +24.1 points [20.3, 27.9]"),
        ("refuted", "tanh: refuted, +24.1 points [20.3, 27.9]"),
    ]
    assert signs == expected * 2  # in the summary and on the card
    _, single = written([a_verdict()])
    assert not any(tag == "i" for tag, _ in single.elements)


def test_looks_and_what_would_decide_are_in_the_table():
    looks = [{"n": n, "effect": 0.02, "low": 0.02 - 0.1 / n, "high": 0.02 + 0.1 / n} for n in (5, 8)]
    cell = a_cell(0.02, 0.0075, 0.0325, verdict="undecided", n=8, looks=looks, seeds_needed=15.0)
    _, seen = written([a_verdict(verdict="undecided", conditions=[a_condition(cell)])])
    text = "\n".join(seen.texts).replace("\u2212", "-")
    assert "5 seeds: +2.0 points [0.0, 4.0]\n8 seeds: +2.0 points [0.8, 3.2]" in text
    assert "about 15 seeds would probably decide" in text
    assert "About 15 seeds would probably decide." in text


def test_an_exploratory_card_is_an_exception_to_rules_before_runs():
    for exploratory in (True, False):
        text, _ = written([a_verdict(exploratory=exploratory)])
        assert ("except on cards that say exploratory" in text) == exploratory


def test_an_outdated_card_says_what_has_changed():
    content = a_verdict(because="Outdated. Only the code that judges has changed: run again. bn gains +24 points.")
    _, seen = written([content])
    assert "Outdated. Only the code that judges has changed: run again." in seen.texts


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_of_outcomes_have_enough_contrast(scheme):
    """WCAG 2.1, level AA: 4.5 to 1 for text, on the page and on panels."""
    shared = Path(html.__file__).with_name("templates") / "page.css"
    text = shared.read_text(encoding="utf-8") + page.TEMPLATE.with_name("claims.css").read_text(encoding="utf-8")
    colors = {}
    for name, color in re.findall(r"--([\w-]+): (#[0-9a-f]{6})", text):
        colors.setdefault(name, []).append(color)
    for outcome in OUTCOMES:
        tone = colors[outcome.replace(" ", "-")][scheme == "dark"]
        for background in ("paper", "panel"):
            assert contrast(tone, colors[background][scheme == "dark"]) >= 4.5, (outcome, background)


def contrast(one, other):
    bright, dark = sorted(map(luminance, (one, other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(color):
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
