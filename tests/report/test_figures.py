"""The figures of a report: what they show, of which runs, and the files beside them."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normexp.report import figures
from normexp.report.figures_colours import NORMS, looks
from normexp.report.figures_panels import layout, panels
from normexp.report.figures_study import study
from normexp.report.figures_style import style
from normexp.report.figures_svg import inline
from normexp.report.groups import group
from normexp.report.read import Curve, read
from normexp.report.series import average, layers, thin
from tests.report.runs import make_run, make_sweep, write_metrics


def drawn(metric="test/accuracy", by=None):
    """Each figure by its name, with its element for the page."""
    with style():
        found = figures.draw(study(read([Path("runs")]), metric=metric, by=by))
        return {each.name: (each, inline(each)[0]) for part in found.values() for each in part}


def table(drawn_figure):
    return [dict(zip(drawn_figure.header, row, strict=True)) for row in drawn_figure.rows]


def run_with(losses, **options):
    directory = make_run(Path("runs"), **options)
    write_metrics(directory, [{"step": 10 * i, "train/loss": loss} for i, loss in enumerate(losses)])
    return directory


def test_a_thinned_curve_keeps_its_ends_and_takes_the_same_steps_in_runs_of_other_lengths():
    whole = Curve(np.arange(0, 10_000, 10), np.random.default_rng(0).normal(size=1000))
    short = Curve(whole.steps[:300], whole.values[:300])
    some, fewer = thin(whole, span=10_000), thin(short, span=10_000)
    assert len(some.steps) <= 201
    assert (some.steps[0], some.steps[-1]) == (0, 9990)
    assert fewer.steps[-1] == 2990
    assert set(fewer.steps[:-1]) <= set(some.steps)
    assert all(whole.values[whole.steps == step] == value for step, value in zip(some.steps, some.values, strict=True))


def test_the_average_over_seeds_goes_as_far_as_each_seed_does():
    long = Curve(np.array([0, 10, 20]), np.array([4.0, 2.0, 1.0]))
    short = Curve(np.array([0, 10]), np.array([2.0, 1.0]))
    mean = average([long, short], span=20)
    assert mean.steps.tolist() == [0, 10, 20]
    assert mean.mean.tolist() == [3.0, 1.5, 1.0]
    assert mean.low.tolist() == [2.0, 1.0, 1.0]
    assert mean.high.tolist() == [4.0, 2.0, 1.0]


def test_seeds_logged_at_other_steps_are_averaged_in_between():
    a = Curve(np.array([0, 20]), np.array([0.0, 2.0]))
    b = Curve(np.array([0, 10, 20]), np.array([0.0, 3.0, 2.0]))
    assert average([a, b], span=20).mean.tolist() == [0.0, 2.0, 2.0]


def test_layers_come_in_the_order_of_the_run_that_has_most():
    tags = [["grad_norm/total", "grad_norm/fc1", "grad_norm/head"], [f"grad_norm/{n}" for n in ("fc1", "fc2", "head")]]
    assert layers(tags, "grad_norm/") == ["fc1", "fc2", "head"]
    assert layers([["activation_in/a.b/p15", "activation_in/a.b/p50", "x"]], "activation_in/", "/p50") == ["a.b"]


def test_a_norm_has_its_colour_and_dashes_whatever_it_is_compared_with():
    for norms in (["none", "bn", "ln", "in", "gn"], ["gn", "bn"]):
        for norm in norms:
            make_run(Path("_".join(norms)), norm=norm)
        found = looks(layout(group(read([Path("_".join(norms))]).runs)))
        assert {look.name: (look.colour, look.dashes, look.marker) for look in found} == {
            f"norm={norm}": NORMS[norm] for norm in norms
        }
    every = list(NORMS.values())
    assert all(len({look[i] for look in map(tuple, every)}) == 5 for i in (0, 2))
    assert len({str(look[1]) for look in every}) == 5


def test_lines_of_one_norm_are_told_apart_by_what_only_it_has():
    make_run(Path("runs"), norm="bn")
    for groups in (2, 4):
        make_run(Path("runs"), norm="gn", norm__groups=groups, name=f"g{groups}")
    plan = layout(group(read([Path("runs")]).runs))
    assert plan.names == ["norm=bn", "norm=gn norm.groups=2", "norm=gn norm.groups=4"]
    assert len({look.colour for look in looks(plan)}) == 3


def test_without_norms_another_key_has_the_colours():
    for lr in (0.1, 1.0):
        for depth in (2, 3):
            make_run(Path("runs"), lr=lr, model__depth=depth, name=f"{lr}-{depth}")
    runs = read([Path("runs")]).runs
    assert layout(group(runs)).colours == ["model.depth"]
    assert layout(group(runs), across="model.depth").colours == ["lr"]


def test_panels_are_few_and_say_what_they_leave_out():
    for lr in range(1, 13):
        for batch_size in (16, 32):
            make_run(Path("runs"), lr=float(lr), batch_size=batch_size, name=f"{lr}-{batch_size}")
    groups = group(read([Path("runs")]).runs).groups
    found = panels(groups, ["lr", "batch_size"], at={})
    assert {(panel.row, panel.column) for panel in found.panels} == {(r, c) for r in range(2) for c in range(4)}
    assert found.notes == ["Of the 12 values of lr, 4 are shown."]
    assert found.panels[0].title == "batch_size=16, lr=1"
    assert found.panels[-1].title == "batch_size=32, lr=12"
    one = panels([g for g in groups if g.values["batch_size"] == 16], ["lr"], at={})
    assert (len(one.panels), one.notes) == (9, ["Of the 12 values of lr, 9 are shown."])


def test_a_third_key_is_held_where_results_are_best():
    for lr, depth, accuracy in [(0.1, 2, 0.8), (0.1, 3, 0.9), (1.0, 2, 0.7), (1.0, 3, 0.5)]:
        for width in (10, 20, 30):
            for norm in ("none", "bn"):
                options = {"model__depth": depth, "model__width": width, "lr": lr, "norm": norm}
                make_run(Path("runs"), accuracy=accuracy, name=f"{norm}-{lr}-{depth}-{width}", **options)
    of = study(read([Path("runs")]), metric="test/accuracy", by=None)
    assert of.setting == {"model.depth": 3, "model.width": 10, "lr": 0.1}
    assert of.over_time.notes == ["Shown is lr=0.1, where results are best."]
    assert {each.values["lr"] for each in of.over_time.groups} == {0.1}


def test_curves_average_completed_runs_and_show_the_others_alone():
    run_with([2.0, 1.0, 0.5], norm="bn", seed=0)
    run_with([4.0, 3.0, 1.5], norm="bn", seed=1)
    run_with([2.0, 50.0, None], norm="bn", seed=2, state="diverged")
    run_with([2.0, 1.9], norm="ln", seed=0, state="interrupted")
    figure, svg = drawn()["curve-train-loss"]
    assert "<title>norm=bn: 1 at step 20</title>" in svg
    assert "<title>norm=bn seed=2: diverged, last value at step 10</title>" in svg
    assert "<title>norm=ln seed=0: interrupted, last value at step 10</title>" in svg
    assert "a cross: it diverged there" in figure.caption
    rows = table(figure)
    assert [row["train/loss"] for row in rows if row["norm"] == "bn" and row["seed"] == 2] == [2.0, 50.0]
    assert {(row["seed"], row["state"]) for row in rows if row["norm"] == "bn"} == {
        (0, "completed"),
        (1, "completed"),
        (2, "diverged"),
    }
    assert len(rows) == 3 + 3 + 2 + 2


def test_a_run_that_explodes_does_not_flatten_the_others():
    run_with([2.0, 1.0, 0.01], norm="bn")
    run_with([2.0, 1e6, 1e30], norm="none", state="diverged")
    figure, _ = drawn()["curve-train-loss"]
    assert figure.figure.axes[0].get_ylim()[1] < 1e4
    assert "cut off" in figure.caption


def test_the_metric_over_a_swept_number_with_the_diverged_runs_marked():
    values = {
        ("bn", 0.01): [0.8, 0.9],
        ("bn", 1.0): [0.9, None],
        ("none", 0.01): [0.5, 0.5],
        ("none", 1.0): [None, None],
    }
    make_sweep(Path("runs"), values)
    figure, svg = drawn()["test-accuracy-by-lr"]
    axes = figure.figure.axes[0]
    assert axes.get_xscale() == "log"
    assert "<title>norm=bn lr=0.01: 85.00 % ± 7.07 (n=2)</title>" in svg
    assert "<title>norm=bn lr=1: 1 of 2 diverged</title>" in svg
    assert "<title>norm=none lr=1: 2 of 2 diverged</title>" in svg
    rows = {(row["norm"], row["lr"]): row for row in table(figure)}
    assert rows["bn", 1.0]["mean"] == 0.9
    assert (rows["none", 1.0]["mean"], rows["none", 1.0]["diverged"]) == (None, 2)
    lines = [line for line in axes.lines if line.get_marker() == "s"]
    assert lines[0].get_ydata().tolist() == pytest.approx([85.0, 90.0])


def test_a_heat_map_has_a_number_that_can_be_read_in_each_cell():
    values = {("bn", 0.1): [0.9, 0.8], ("bn", 1.0): [None], ("none", 0.1): [0.1, None], ("none", 1.0): [0.3]}
    make_sweep(Path("runs"), values)
    make_run(Path("runs"), norm="ln")
    figure, svg = drawn()["test-accuracy-heat-map"]
    texts = [text.get_text() for text in figure.figure.axes[0].texts]
    assert texts == ["10.0*", "30.0", "85.0", "div", "90.0", "-"]
    assert "lr" in svg
    for box, text in zip(figure.figure.axes[0].patches, figure.figure.axes[0].texts, strict=False):
        if text.get_text() not in ("div", "-"):
            assert contrast(box.get_facecolor()[:3], text.get_color()) > 4.5


def contrast(face, ink):
    light = [sum(w * c**2.2 for w, c in zip((0.2126, 0.7152, 0.0722), rgb, strict=True)) for rgb in (face, _rgb(ink))]
    return (max(light) + 0.05) / (min(light) + 0.05)


def _rgb(colour):
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_losses_are_better_when_they_are_small():
    for norm, loss in (("bn", 0.1), ("none", 2.0)):
        for lr in (0.1, 1.0):
            make_run(Path("runs"), norm=norm, lr=lr, metrics={"test/loss": loss})
    figure, _ = drawn("test/loss")["test-loss-heat-map"]
    boxes = figure.figure.axes[0].patches
    assert sum(boxes[0].get_facecolor()[:3]) < sum(boxes[2].get_facecolor()[:3])  # none above bn: the darker one


def layered(directory, values):
    """Gradient norms and percentiles of two layers, of which the second is deeper."""
    lines = []
    for step in (0, 10, 20):
        line = {"step": step, "grad_norm/total": 9.0}
        for name, value in values.items():
            line |= {f"grad_norm/{name}": value, f"activation_in/{name}/p15": -value}
            line |= {f"activation_in/{name}/p50": 0.0, f"activation_in/{name}/p85": value}
        lines.append(line)
    write_metrics(directory, lines)


def test_what_happens_in_the_layers():
    for norm, scale in (("none", 1e-3), ("bn", 1.0)):
        values = {"fc1": scale, "head": 1.0}
        directory = make_run(Path("runs"), norm=norm, metrics={"test/accuracy": 0.9, "grad_norm/total": 9.0})
        layered(directory, values)
        status = (directory / "status.json").read_text()
        tags = f'"grad_norm/fc1": {scale}, "grad_norm/head": 1.0, "test/accuracy"'
        (directory / "status.json").write_text(status.replace('"test/accuracy"', tags))
    found = drawn()
    over_time, _ = found["gradients-over-time"]
    assert [axes.get_title(loc="left") for axes in over_time.figure.axes] == ["norm=none", "norm=bn"]
    assert {row["layer"] for row in table(found["gradients-over-time"][0])} == {"fc1", "head"}
    at_end, svg = found["gradients-at-the-end"]
    assert [tick.get_text() for tick in at_end.figure.axes[0].get_xticklabels()] == ["fc1", "head"]
    assert "<title>norm=none, fc1: 0.001</title>" in svg
    percentiles = table(found["percentiles"][0])
    assert [row["value"] for row in percentiles if row["norm"] == "none" and row["layer"] == "fc1"] == [
        *[-1e-3] * 3,
        *[0.0] * 3,
        *[1e-3] * 3,
    ]


def test_gradients_that_are_zero_or_enormous_break_nothing():
    for norm, value in (("none", 0.0), ("bn", 1e38), ("ln", 1e-44)):
        layered(make_run(Path("runs"), norm=norm), {"fc1": value, "head": 1.0})
    low, high = drawn()["gradients-over-time"][0].figure.axes[0].get_ylim()
    assert 1e-12 < low < high < 1e12


def test_files_for_a_paper():
    for seed in (0, 1):
        run_with([1 / (i + 1) for i in range(1000)], norm="bn", seed=seed)
    folder = Path("figures")
    folder.mkdir()
    collection = read([Path("runs")])
    written = figures.write(folder, collection, metric="test/accuracy", by=None)
    assert sorted(path.suffix for path in written) == [".csv", ".png", ".svg"]
    assert sorted(folder.iterdir()) == sorted(written)
    with Image.open(folder / "curve-train-loss.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.width == 3.4 * 300
    with (folder / "curve-train-loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2000
    assert float(rows[999]["train/loss"]) == 1 / 1000
    first = (folder / "curve-train-loss.svg").read_bytes()
    figures.write(folder, collection, metric="test/accuracy", by=None)
    assert (folder / "curve-train-loss.svg").read_bytes() == first


def test_names_from_files_can_not_break_a_figure():
    names = ["$\\frac{$", "_hidden", "<b>", "a\x00b\nc", "\u732b", "a" * 300]
    for i, name in enumerate(names):
        directory = make_run(Path("runs"), init=name, lr=float(i + 1), name=str(i))
        layered(directory, {name: 1.0, "head": 2.0})
    found = drawn(by=["init"])
    assert "gradients-over-time" in found
    for _, svg in found.values():
        assert "<b>" not in svg


def test_matplotlib_is_left_as_it_was_and_pyplot_and_torch_stay_away():
    make_sweep(Path("runs"), {("bn", 0.1): [0.9], ("none", 0.1): [0.5], ("bn", 1.0): [0.9]})
    program = (
        "import sys, matplotlib\n"
        "from pathlib import Path\n"
        "from normexp.report import figures, page\n"
        "from normexp.report.read import read\n"
        "assert 'matplotlib.figure' not in sys.modules\n"
        "before = matplotlib.rcParams.copy()\n"
        "options = dict(metric='test/accuracy', by=None)\n"
        "page.write(Path('page.html'), read([Path('runs')]), title='runs', **options)\n"
        "figures.write(Path(), read([Path('runs')]), **options)\n"
        "assert matplotlib.rcParams.copy() == before\n"
        "assert not {'torch', 'matplotlib.pyplot', 'hydra'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ids_and_colours_of_an_inline_figure_are_its_own():
    make_sweep(Path("runs"), {("bn", 0.1): [0.9], ("none", 0.1): [0.5], ("bn", 1.0): [0.8], ("none", 1.0): [0.5]})
    found = drawn()
    ids = [name for _, svg in found.values() for name in re.findall(r'\bid="([^"]*)"', svg)]
    assert len(ids) == len(set(ids)) > 2
    for name, (_, svg) in found.items():
        used = set(re.findall(r'(?:url\(#|href="#)([^)"]*)', svg))
        assert used <= set(ids) and all(each.startswith(name) for each in used)
    _, svg = found["test-accuracy-by-lr"]
    assert "var(--c0072b2)" in svg and "var(--ink)" in svg
    assert not re.search(r"[:\"]\s*#[0-9a-f]{6}", svg)
    assert "#" in found["test-accuracy-heat-map"][1]


def test_a_heat_map_needs_a_result_in_a_panel_that_is_shown():
    for width in range(1, 14):
        for lr in (0.1, 0.2, 0.3, 0.4):  # the second one has no room
            ended = {} if lr == 0.2 else {"state": "running", "metrics": {}}
            make_run(Path("runs"), lr=lr, model__width=width, dropout=0.1 * (width % 2), name=f"{lr}-{width}", **ended)
    found = drawn(by=["dropout", "model.width", "lr"])
    assert "test-accuracy-heat-map" not in found
    assert "test-accuracy-by-model.width" in found


def test_lines_that_other_figures_do_not_have_are_not_hidden_with_theirs():
    for lr in (0.1, 1.0):
        for batch_size in (16, 32):
            make_run(Path("runs"), lr=lr, batch_size=batch_size, name=f"{lr}-{batch_size}")
    found = drawn()
    assert 'class="s0"' in found["test-accuracy-by-batch_size"][1]  # a line for each lr, as in the page
    assert 'class="s0"' not in found["test-accuracy-by-lr"][1]
