"""The HTML page: a single file, safe with untrusted runs, with notes on what it leaves out."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from normexp.cli import main
from normexp.report import page
from normexp.report.groups import group
from normexp.report.page import MAX_SHEET_BYTES, MAX_SHEETS
from normexp.report.panels import line_layout
from normexp.report.read import read
from tests.commands.shell import start
from tests.report.damage import damaged
from tests.report.runs import make_run, make_sweep, write_metrics

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


class Page(HTMLParser):
    """The page as a browser sees it: elements with their attributes, and texts."""

    VOID = ("meta", "img", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.texts.append(data)

    def sections(self):
        return [attributes["id"] for tag, attributes in self.elements if tag == "section"]

    def links(self):
        return [attributes["href"] for tag, attributes in self.elements if tag == "a" and "href" in attributes]


def written(folder="runs", *, metric="test/accuracy", by=None, file="page.html"):
    """Write the page of a folder. Returns its HTML, what a browser sees of it, and its notes."""
    notes = page.write_page(Path(file), read([Path(folder)]), metric=metric, by=by, title=Path(folder).name)
    text = Path(file).read_text(encoding="utf-8")
    seen = Page(text)
    assert seen.open == []
    return text, seen, notes


def a_sweep(folder="runs"):
    none = {("none", 0.1): [0.5, 0.6], ("none", 1.0): [None, None]}
    make_sweep(Path(folder), {**none, ("bn", 0.1): [0.9, 0.94], ("bn", 1.0): [0.8, None]})
    for i, directory in enumerate(sorted(Path(folder).iterdir())):
        lines = [{"step": 10 * step, "train/loss": 2 / (step + 1 + i), "val/accuracy": 0.5} for step in range(5)]
        write_metrics(directory, lines)
    (Path(folder) / "sweep.json").write_text("{}")
    return Path(folder)


def test_opening_sentences():
    a_sweep()
    _, seen, _ = written()
    assert "8 runs: 5 completed, 3 diverged, started 2026-01-02 03:04 UTC." in seen.texts
    assert "Swept: norm (none, bn), lr (0.1, 1); 2 seeds." in seen.texts
    assert "Best by validation accuracy: norm=bn lr=0.1, test accuracy 92.00 % ± 2.83 (n=2)." in seen.texts
    chosen = "norm=bn 92.00 % (lr=0.1), norm=none 55.00 % (lr=0.1)."
    assert f"Test accuracy of each norm at its best lr, chosen by validation accuracy: {chosen}" in seen.texts
    assert "Diverged: 3 of 8 runs (2 of norm=none, 1 of norm=bn)." in seen.texts


def test_single_runs_are_compared_without_panels_per_length(capsys):
    for name, config in (
        ("a", {"norm": "none", "epochs": 3, "steps": None}),
        ("b", {"norm": "bn", "steps": 40, "epochs": None}),
    ):
        directory = make_run(Path("runs"), name=name, **config)
        write_metrics(directory, [{"step": step, "val/accuracy": 0.5} for step in range(5)])
    _, seen, _ = written()
    assert "Compared: norm (none, bn), epochs (3), steps (40); 1 seed." in seen.texts
    assert "Differing settings" in seen.texts
    layout = line_layout(group(read([Path("runs")]).runs))
    assert (layout.line_keys, layout.panel_keys) == (["norm"], [])
    assert main(["report", "runs/a", "runs/a"]) == 0
    assert "A and B have the same config." in capsys.readouterr().out


def test_it_is_one_file_that_needs_no_network():
    folder = a_sweep()
    Image.new("P", (20, 20)).save(folder / "norm=bn_lr=0.1_seed=0" / "histograms.png")
    text, seen, _ = written()
    assert {tag for tag, _ in seen.elements} & {"link", "iframe", "object", "base"} == set()
    for tag, attributes in seen.elements:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name, "#")
            assert address.startswith(("#", "data:image/png;base64,")) or tag == "a", address
            assert "://" not in address
    assert "url(" not in re.sub(r"url\(#", "", text) and "@import" not in text
    assert list(Path().glob(".page*")) == []


def test_sections_are_in_order_and_every_norm_can_be_hidden():
    folder = a_sweep()
    Image.new("P", (20, 20)).save(folder / "norm=bn_lr=0.1_seed=0" / "histograms.png")
    text, seen, _ = written()
    assert seen.sections() == ["curves", "sweep", "histograms", "table", "provenance"]
    boxes = [attributes["value"] for tag, attributes in seen.elements if tag == "input"]
    assert boxes == ["0", "1"]
    assert ".without-1 svg .s1 { display: none; }" in text
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_links_to_runs_are_relative_to_the_page():
    a_sweep("runs/a sweep#1")
    Path("elsewhere/deep").mkdir(parents=True)
    _, seen, _ = written("runs/a sweep#1", file="elsewhere/deep/page.html")
    links = [unquote(link) for link in seen.links() if not link.startswith("#")]
    assert len(links) == 8
    assert all((Path("elsewhere/deep") / link).is_dir() for link in links)


def test_tables_have_a_row_per_group_and_per_run():
    a_sweep()
    text, seen, _ = written()
    assert text.count("<tr>") == 2 + 4 + 8
    assert sum(tag == "th" and "data-sort" in attributes for tag, attributes in seen.elements) == 9 + 9
    assert 'data-v="0.92"' in text
    assert "1 of 2 diverged" in seen.texts


def test_text_from_files_stays_text():
    folder = Path("runs")
    for norm, name in (("bn", EVIL.replace("/", "|")), ("ln", "b")):
        directory = make_run(folder, norm=norm, name=name, init=EVIL + norm, state="failed", error=EVIL)
        tags = {f"grad_norm/{EVIL}": 1.0, "grad_norm/x": 2.0, "train/loss": 1.0}
        write_metrics(directory, [{"step": i, **tags} for i in range(3)])
        made_with = {"command": [EVIL], "git": {"commit": EVIL}, "packages": {EVIL: EVIL}, "device": EVIL, "host": EVIL}
        (directory / "environment.json").write_text(json.dumps(made_with))
    (folder / "sweep.json").write_text(json.dumps({"command": ["normexp", EVIL]}))
    config = (folder / "b/config.yaml").read_text()
    (folder / "b/config.yaml").write_text(config + f"{json.dumps(EVIL)}: {json.dumps(EVIL)}\n")
    text, seen, _ = written(by=["init"], metric="train/loss")
    assert sum(tag == "script" for tag, _ in seen.elements) == 1
    assert not any(tag == "img" for tag, _ in seen.elements)
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    assert text.count("&lt;script&gt;") > 10


def test_characters_that_can_not_be_encoded():
    directory = make_run(Path("runs"), error="\ud800 \x00 \x1b[31m", norm="bn")
    environment = '{"command": ["\\ud800"], "packages": 3, "git": [], "device": {"a": null}}'
    (directory / "environment.json").write_text(environment)
    make_run(Path("runs"), norm="ln")
    written()


def test_unfinished_failed_and_skipped_runs_are_marked():
    states = ["running", "interrupted", "killed", "failed", "diverged", "completed"]
    for seed, state in enumerate(states):
        accuracy = 0.9 if state == "completed" else None
        directory = make_run(Path("runs"), norm="bn", seed=seed, state=state, error=f"why {state}", accuracy=accuracy)
        write_metrics(directory, [{"step": i, "train/loss": 1 / (i + 1)} for i in range(seed + 2)])
    for lr in (0.1, 0.2):
        make_run(Path("runs"), norm="in", lr=lr, state="skipped", error="in needs a picture")
    text, seen, _ = written()
    assert "2 runs skipped: in needs a picture" in seen.texts
    for state in states:
        assert f'<td class="{state}">{state}</td>' in text
        assert f"why {state}" in seen.texts
    assert "all runs seed=1: interrupted, last value at step 2" in seen.texts


def test_missing_data_is_noted():
    for norm in ("bn", "none"):
        make_run(Path("runs"), norm=norm)
    _, seen, notes = written()
    assert "No data for Convergence." in notes
    assert "2 of 2 groups have no histograms.png." in notes
    assert "2 runs have no readable environment.json." in notes
    assert set(notes) <= set(seen.texts)


def test_truncated_lines_are_counted():
    directory = make_run(Path("runs"))
    write_metrics(directory, [{"step": 0, "train/loss": 1.0}, '{"step": 1, "train/lo', {"step": 2, "train/loss": 0.5}])
    _, _, notes = written()
    assert "1 unreadable line of metrics.jsonl ignored." in notes


@pytest.mark.parametrize("state", ["skipped", "running"])
def test_without_any_result(state):
    make_run(Path("runs"), state=state, metrics={})
    for by in (None, ["norm", "lr"]):
        _, seen, _ = written(by=by)
        count = "0 runs; 1 combination skipped" if state == "skipped" else "1 run: 1 running"
        assert f"{count}, started 2026-01-02 03:04 UTC." in seen.texts


def test_provenance():
    for norm, commit, dirty in (("bn", "abc", False), ("none", "abc", False), ("ln", "def", True)):
        directory = make_run(Path("runs"), norm=norm)
        made_with = {
            "command": ["normexp", "train", f"norm={norm}", "name=two words"],
            "git": {"commit": commit, "dirty": dirty},
            "python": "3.11.7",
            "packages": {"torch": "2.9" if norm == "ln" else "2.8"},
            **{"device": "cpu", "host": "lab", "cpus": 2, "threads": 1},
        }
        (directory / "environment.json").write_text(json.dumps(made_with))
    text, seen, _ = written()
    assert "normexp train norm=bn 'name=two words'" in "".join(seen.texts)
    assert "abc (2 runs)<br>def with uncommitted changes (1 run)" in text
    assert "<dd>torch 2.8 and 2.9</dd>" in text
    assert "<dd>cpu, lab, 2 cores, 1 thread per run</dd>" in text
    assert "<dt>norm</dt><dd><code>none, bn, ln</code></dd>" in text
    assert "<dt>log_every</dt><dd><code>10</code></dd>" in text
    (Path("runs") / "sweep.json").write_text(json.dumps({"command": ["normexp", "train", "-m", "norm=bn,none,ln"]}))
    _, seen, _ = written()
    assert "normexp train -m norm=bn,none,ln" in seen.texts


def test_further_histogram_sheets_are_linked():
    for i in range(MAX_SHEETS + 3):
        directory = make_run(Path("runs"), norm="bn", lr=float(i + 1))
        Image.new("P", (20, 20)).save(directory / "histograms.png")
    (Path("runs") / "norm=bn_lr=1.0_seed=0" / "histograms.png").write_bytes(b"<svg onload=alert(1)>")
    with (Path("runs") / "norm=bn_lr=5.0_seed=0" / "histograms.png").open("ab") as file:
        file.write(bytes(MAX_SHEET_BYTES))
    _, seen, notes = written()
    assert sum(tag == "img" for tag, _ in seen.elements) == MAX_SHEETS
    assert f"{MAX_SHEETS} of {MAX_SHEETS + 3} histogram figures are embedded; the others are linked." in notes
    assert sum(link.endswith("histograms.png") for link in seen.links()) == MAX_SHEETS + 3


def test_the_page_of_many_runs_stays_small():
    for lr in (0.01, 0.1, 1.0):
        for norm in ("none", "bn", "ln", "gn"):
            for seed in range(18):
                directory = make_run(Path("runs"), norm=norm, lr=lr, seed=seed, accuracy=0.5 + seed / 100)
                lines = [{"step": i, "train/loss": 1 / (i + seed + 1)} for i in range(0, 500)]
                write_metrics(directory, lines)
    text, seen, _ = written()
    assert len(text) < 1_000_000
    assert "216 runs: 216 completed, started 2026-01-02 03:04 UTC." in seen.texts


def test_a_real_run(tmp_path):
    done = start("train", "norm=bn", "model=mlp", "steps=6", "probe.every=2", "name=real", cwd=tmp_path)
    assert (tmp_path / "runs/real/status.json").is_file(), done.stderr
    _, seen, notes = written("runs/real")
    assert seen.sections() == ["curves", "gradients", "activations", "histograms", "table", "provenance"]
    assert notes == []


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_damaged_files_never_raise(tmp_path_factory, data):
    folder = damaged(tmp_path_factory.mktemp("runs"), data)
    written(str(folder), file=str(folder / "page.html"))


VALUES = {
    "norm": ["none", "bn", "gn", "mine"],
    "lr": [1e-8, 0.1, 1, 1e30],
    "model": ["mlp", "cnn"],
    "model__depth": list(range(1, 15)),
    "data__augment": [[], ["crop"], None],
    "norm__groups": [1, 2, 4],
    "seed": [0, 1, 2],
}
PERCENTILES = [f"activation_in/a/p{p}" for p in (15, 50, 85)]
TAGS = ["grad_norm/a", "grad_norm/b", *PERCENTILES, "train/loss", "val/loss"]
NUMBERS = [0.0, 1e-45, 0.5, 2.3, 3e38, -1.0, None]
STATES = ["completed", "completed", "diverged", "running", "failed", "interrupted", "skipped"]


@settings(max_examples=8, deadline=None)
@given(data=st.data())
@pytest.mark.long
def test_a_page_of_any_sweep(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("runs")
    keys = data.draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=5))
    for i in range(data.draw(st.integers(1, 15))):
        config = {key: data.draw(st.sampled_from(VALUES[key])) for key in keys}
        final = data.draw(st.dictionaries(st.sampled_from(["test/loss", *TAGS[:2]]), st.sampled_from(NUMBERS)))
        directory = make_run(folder, state=data.draw(st.sampled_from(STATES)), metrics=final, name=str(i), **config)
        lines = data.draw(st.lists(st.dictionaries(st.sampled_from(TAGS), st.sampled_from(NUMBERS)), max_size=3))
        write_metrics(directory, [{"step": step, **line} for step, line in enumerate(lines)])
    by = data.draw(st.sampled_from([None, ["seed"], ["norm", "lr"]]))
    written(str(folder), metric="test/loss", by=by, file=str(folder / "page.html"))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"norm": "bn"}, "paired: Student's t over the seeds, which are the same in A and B."),
        ({"norm": "bn", "lr": 1.0}, "Confounded: A and B differ in both norm and lr, so B - A"),
        ({"data": "mnist"}, "Not like for like: A and B use different data sets, so B - A is not computed."),
        ({"norm": "bn", "seed": 0}, "No interval with one run on a side"),
    ],
)
def test_the_comparison_is_the_first_section_with_the_words_of_the_terminal(capsys, config, sentence):
    for seed in {0, config.get("seed", 1)}:
        make_run(Path("a"), seed=seed, accuracy=0.8 + seed / 50)
        make_run(Path("b"), **{"seed": seed, **config}, accuracy=0.9 + seed / 50)
    assert main(["report", "a", "b", "--html", "page.html"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    first = re.search("<section id=.*?</section>", Path("page.html").read_text(), re.DOTALL)
    texts = [text.strip() for text in Page(first[0]).texts if text.strip()]
    assert texts[:3] == ["Comparison", "A", "a"]
    assert any(text.startswith(sentence) for text in texts)
    assert [text for text in texts[1:] if text.replace("Bold:", "*:") not in printed] == []
