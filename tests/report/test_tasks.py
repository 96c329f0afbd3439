"""Runs on several data sets: results are averaged, ranked and drawn for each data set alone."""

import json
import re
from pathlib import Path

import pytest

from normexp.config import ConfigError
from normexp.report import export, page
from normexp.report.aggregate import aggregate
from normexp.report.figures.draw import write_figures
from normexp.report.groups import group, split_tasks
from normexp.report.listing import list_folder
from normexp.report.read import read
from normexp.report.terminal_plot import read_plots
from tests.report.runs import make_run, shown, write_metrics

SETTING = {"metric": "test/accuracy", "by": None}


def two_data_sets():
    """bn is better on digits, none on mnist; all of digits is above mnist."""
    accuracies = {("digits", "bn"): 0.99, ("digits", "none"): 0.95, ("mnist", "bn"): 0.6, ("mnist", "none"): 0.7}
    for (data, norm), accuracy in accuracies.items():
        for seed in (0, 1):
            name = f"{data}-{norm}-{seed}"
            run = make_run(Path("runs"), name=name, data=data, norm=norm, seed=seed, accuracy=accuracy)
            write_metrics(run, [{"step": step, "train/loss": 1 / (step + 1)} for step in range(3)])


def written_page(**options):
    page.write_page(Path("page.html"), read([Path("runs")]), title="runs", **(SETTING | options))
    return Path("page.html").read_text()


def test_terminal_has_one_table_per_data_set():
    two_data_sets()
    _, digits, mnist = re.split(r"^data=\w+\n", shown(), flags=re.MULTILINE)
    assert [line.split()[:3] for line in digits.splitlines()[1:3]] == [["bn", "99.00", "%"], ["none", "95.00", "%"]]
    assert [line.split()[:3] for line in mnist.splitlines()[1:3]] == [["none", "70.00", "%"], ["bn", "60.00", "%"]]
    assert "Results on different data sets are neither averaged nor ranked together." in mnist


def test_a_plot_per_data_set():
    two_data_sets()
    plots = read_plots(read([Path("runs")]).runs, "train/loss", **SETTING)
    assert [plot.task for plot in plots] == ["data=digits", "data=mnist"]
    names = [[line.name for line in plot.lines] for plot in plots]
    assert names == [["norm=bn", "norm=none"], ["norm=none", "norm=bn"]]


def test_the_list_of_runs_has_the_best_of_each_data_set():
    two_data_sets()
    assert list_folder(Path())[0][0].accuracy == "digits 99.00 %, mnist 70.00 % (best val)"


@pytest.mark.parametrize("by", [["norm"], ["seed"], []])
def test_no_average_over_data_sets_even_if_asked_for(by):
    two_data_sets()
    collection = read([Path("runs")])
    for entry in group(collection.runs, by).groups:
        assert len({run.config["data"] for run in entry.runs}) == 1
    content = json.loads(export.to_json(collection, metric="test/accuracy", by=by, sort="metric", comparison=None))
    assert {entry["values"]["data"] for entry in content["groups"]} == {"digits", "mnist"}
    assert "79" not in shown(by=by)  # (0.99 + 0.6) / 2


def test_ranking_stays_within_a_data_set():
    two_data_sets()
    rows = aggregate(group(read([Path("runs")]).runs))
    order = [(row.group.values["data"], row.group.values["norm"]) for row in rows]
    assert order == [("digits", "bn"), ("digits", "none"), ("mnist", "none"), ("mnist", "bn")]


def test_page_has_a_section_per_data_set():
    two_data_sets()
    text = written_page()
    assert re.findall(r'<section id="([\w-]+)"', text) == ["data-digits", "data-mnist", "provenance"]
    digits, mnist = re.findall(r'<section id="data-.*?</section>', text, re.DOTALL)
    assert "Best by validation accuracy: norm=bn, test accuracy 99.00 % ± 0.00 (n=2)." in digits
    assert "Best by validation accuracy: norm=none, test accuracy 70.00 % ± 0.00 (n=2)." in mnist
    assert text.count("Best by") == 2
    for part, section in (("digits", digits), ("mnist", mnist)):
        assert f'id="data-{part}-curve-train-loss"' in section
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert ".without-1 #data-digits svg .s1, .without-1 #data-mnist svg .s1 { display: none; }" in text


def test_figures_are_drawn_per_data_set():
    two_data_sets()
    Path("figures").mkdir()
    files = write_figures(Path("figures"), read([Path("runs")]), **SETTING)
    assert {path.stem for path in files} == {"data-digits-curve-train-loss", "data-mnist-curve-train-loss"}
    rows = Path("figures/data-mnist-curve-train-loss.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 * 3
    assert all("digits" not in row for row in rows)


def test_models_are_split_only_if_data_sets_differ_too():
    make_run(Path("runs"), name="a", model="mlp")
    make_run(Path("runs"), name="b", model="cnn")
    assert [task.label for task in split_tasks(read([Path("runs")]).runs)] == [""]
    make_run(Path("runs"), name="c", model="cnn", data="mnist", model__channels=[8])
    tasks = split_tasks(read([Path("runs")]).runs, ["model.channels"])
    assert [task.label for task in tasks] == ["data=digits model=cnn", "data=digits model=mlp", "data=mnist model=cnn"]
    assert [task.by for task in tasks] == [[], [], ["model.channels"]]
    assert "model.channels" in shown(by=["model.channels"])
    with pytest.raises(ConfigError, match=r"Unknown key nrom\. Did you mean norm\?"):
        split_tasks(read([Path("runs")]).runs, ["nrom"])


def test_notes_are_printed_once():
    two_data_sets()
    make_run(Path("runs"), name="again", data="mnist", norm="bn", seed=0, accuracy=0.6)
    text = shown(200)
    assert "1 run repeats the config and seed of another (counted once)." in text
    for note in ("±: standard deviation over n runs.", "Sorted by validation accuracy", "n < 3"):
        assert text.count(note) == 1


def test_sorting_by_a_key_that_one_data_set_lacks():
    two_data_sets()
    for width in (5, 3, 4):
        make_run(Path("runs"), name=f"w{width}", data="digits", norm="bn", model__width=width, accuracy=0.5)
    lines = [line.split() for line in shown(sort="model.width").splitlines()]
    widths = [line[1] for line in lines if line[:1] == ["bn"] and line[1] in "345"]
    assert widths == ["3", "4", "5"]
    with pytest.raises(ConfigError, match=r"rows can be sorted by metric, name, norm, model\.width, data"):
        shown(sort="widht")


def test_skipped_runs_of_several_data_sets():
    two_data_sets()
    (make_run(Path("runs"), name="x", norm="in", state="skipped", error="needs a picture") / "config.yaml").unlink()
    assert "     1  needs a picture" in shown()
    assert "1 run skipped: needs a picture" in written_page()
