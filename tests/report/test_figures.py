"""Figures of a report: their content, the runs they show, and their files."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from normexp.plotting.style import figure_style, log_axis
from normexp.plotting.svg import inline_svg
from normexp.report.analysis import analyze_tasks
from normexp.report.figures import draw
from normexp.report.read import read
from tests.report.runs import make_run, make_sweep, write_metrics


def drawn(metric="test/accuracy", by=None):
    """Figures by name, with their SVG for the page."""
    with figure_style():
        sections = map(draw.draw_all, analyze_tasks(read([Path("runs")]), metric=metric, by=by))
        figures = [figure for section in sections for part in section.values() for figure in part]
        return {figure.name: (figure, inline_svg(figure)) for figure in figures}


def table(drawn_figure):
    return [dict(zip(drawn_figure.header, row, strict=True)) for row in drawn_figure.rows]


def run_with(losses, **options):
    directory = make_run(Path("runs"), **options)
    write_metrics(directory, [{"step": 10 * i, "train/loss": loss} for i, loss in enumerate(losses)])
    return directory


def test_curves_average_completed_runs_and_show_the_others_alone():
    run_with([2.0, 1.0, 0.5], norm="bn", seed=0)
    run_with([4.0, 3.0, 1.5], norm="bn", seed=1)
    run_with([2.0, 50.0, None], norm="bn", seed=2, state="diverged")
    run_with([2.0, 1.9], norm="ln", seed=0, state="interrupted")
    figure, svg = drawn()["curve-train-loss"]
    assert "<title>norm=bn: 1 at step 20</title>" in svg
    assert "<title>norm=bn seed=2: diverged, last value at step 10</title>" in svg
    assert "<title>norm=ln seed=0: interrupted, last value at step 10</title>" in svg
    assert "Cross: diverged" in figure.caption
    rows = table(figure)
    assert [row["train/loss"] for row in rows if row["norm"] == "bn" and row["seed"] == 2] == [2.0, 50.0]
    states = {(row["seed"], row["state"]) for row in rows if row["norm"] == "bn"}
    assert states == {(0, "completed"), (1, "completed"), (2, "diverged")}
    assert len(rows) == 3 + 3 + 2 + 2


def test_a_run_that_explodes_does_not_flatten_the_others():
    run_with([2.0, 1.0, 0.01], norm="bn")
    run_with([2.0, 1e6, 1e30], norm="none", state="diverged")
    figure, _ = drawn()["curve-train-loss"]
    assert figure.figure.axes[0].get_ylim()[1] < 1e4
    assert "cut off" in figure.caption


def test_the_metric_over_a_swept_number_with_the_diverged_runs_marked():
    bn = {("bn", 0.01): [0.8, 0.9], ("bn", 1.0): [0.9, None]}
    make_sweep(Path("runs"), {**bn, ("none", 0.01): [0.5, 0.5], ("none", 1.0): [None, None]})
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


def _rgb(color):
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_losses_are_better_when_they_are_small():
    for norm, loss in (("bn", 0.1), ("none", 2.0)):
        for lr in (0.1, 1.0):
            make_run(Path("runs"), norm=norm, lr=lr, metrics={"test/loss": loss})
    figure, _ = drawn("test/loss")["test-loss-heat-map"]
    boxes = figure.figure.axes[0].patches
    assert sum(boxes[0].get_facecolor()[:3]) < sum(boxes[2].get_facecolor()[:3])  # none above bn: the darker one


def layered(directory, values):
    """Write gradient norms and activation percentiles of layers, in order of depth."""
    lines = []
    for step in (0, 10, 20):
        line = {"step": step, "grad_norm/total": 9.0}
        for name, value in values.items():
            line |= {f"grad_norm/{name}": value, f"activation_in/{name}/p15": -value}
            line |= {f"activation_in/{name}/p50": 0.0, f"activation_in/{name}/p85": value}
        lines.append(line)
    write_metrics(directory, lines)


def test_figures_by_layer():
    for norm, scale in (("none", 1e-3), ("bn", 1.0)):
        values = {"fc1": scale, "head": 1.0}
        directory = make_run(Path("runs"), norm=norm, metrics={"test/accuracy": 0.9, "grad_norm/total": 9.0})
        layered(directory, values)
        status = (directory / "status.json").read_text()
        tags = f'"grad_norm/fc1": {scale}, "grad_norm/head": 1.0, "test/accuracy"'
        (directory / "status.json").write_text(status.replace('"test/accuracy"', tags))
    figures = drawn()
    over_time, _ = figures["gradients-over-time"]
    assert [axes.get_title(loc="left") for axes in over_time.figure.axes] == ["norm=none", "norm=bn"]
    assert {row["layer"] for row in table(figures["gradients-over-time"][0])} == {"fc1", "head"}
    at_end, svg = figures["gradients-at-the-end"]
    assert [tick.get_text() for tick in at_end.figure.axes[0].get_xticklabels()] == ["fc1", "head"]
    assert "<title>norm=none, fc1: 0.001</title>" in svg
    percentiles = table(figures["percentiles"][0])
    values = [row["value"] for row in percentiles if row["norm"] == "none" and row["layer"] == "fc1"]
    assert values == [-1e-3] * 3 + [0.0] * 3 + [1e-3] * 3


def test_zero_and_huge_gradients():
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
    written = draw.write_figures(folder, collection, metric="test/accuracy", by=None)
    assert sorted(path.suffix for path in written) == [".csv", ".pdf", ".png", ".svg"]
    assert sorted(folder.iterdir()) == sorted(written)
    with Image.open(folder / "curve-train-loss.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.width == 3.4 * 300
    with (folder / "curve-train-loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2000
    assert float(rows[999]["train/loss"]) == 1 / 1000
    vector = [folder / f"curve-train-loss.{suffix}" for suffix in ("svg", "pdf")]
    first = [path.read_bytes() for path in vector]
    assert b"/TrueType" in first[1] or b"/FontFile2" in first[1]
    assert b"/Type3" not in first[1]
    draw.write_figures(folder, collection, metric="test/accuracy", by=None)
    assert [path.read_bytes() for path in vector] == first


def test_odd_names_do_not_break_a_figure():
    names = ["$\\frac{$", "_hidden", "<b>", "a\x00b\nc", "\u732b", "a" * 300]
    for i, name in enumerate(names):
        directory = make_run(Path("runs"), init=name, lr=float(i + 1), name=str(i))
        layered(directory, {name: 1.0, "head": 2.0})
    figures = drawn(by=["init"])
    assert "gradients-over-time" in figures
    for _, svg in figures.values():
        assert "<b>" not in svg


def test_matplotlib_settings_are_restored_and_neither_pyplot_nor_torch_imported():
    make_sweep(Path("runs"), {("bn", 0.1): [0.9], ("none", 0.1): [0.5], ("bn", 1.0): [0.9]})
    program = (
        "import sys, matplotlib\n"
        "from pathlib import Path\n"
        "from normexp.report import page\n"
        "from normexp.report.figures import draw\n"
        "from normexp.report.read import read\n"
        "assert 'matplotlib.figure' not in sys.modules\n"
        "before = matplotlib.rcParams.copy()\n"
        "options = dict(metric='test/accuracy', by=None)\n"
        "page.write_page(Path('page.html'), read([Path('runs')]), title='runs', **options)\n"
        "draw.write_figures(Path(), read([Path('runs')]), **options)\n"
        "assert matplotlib.rcParams.copy() == before\n"
        "assert not {'torch', 'matplotlib.pyplot', 'hydra'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ids_of_an_inline_figure_are_its_own():
    make_sweep(Path("runs"), {("bn", 0.1): [0.9], ("none", 0.1): [0.5], ("bn", 1.0): [0.8], ("none", 1.0): [0.5]})
    figures = drawn()
    ids = [name for _, svg in figures.values() for name in re.findall(r'\bid="([^"]*)"', svg)]
    assert len(ids) == len(set(ids)) > 2
    for name, (_, svg) in figures.items():
        used = set(re.findall(r'(?:url\(#|href="#)([^)"]*)', svg))
        assert used <= set(ids) and all(reference.startswith(name) for reference in used)


def test_a_dark_page_inverts_lines_but_not_the_colors_of_a_heat_map():
    make_sweep(Path("runs"), {("bn", 0.1): [0.9], ("none", 0.1): [0.5], ("bn", 1.0): [0.8], ("none", 1.0): [0.5]})
    figures = drawn()
    assert 'class="narrow"' in figures["test-accuracy-by-lr"][1]
    assert 'class="narrow own-colors"' in figures["test-accuracy-heat-map"][1]


def test_a_heat_map_needs_a_result_in_a_panel_that_is_shown():
    for width in range(1, 14):
        for lr in (0.1, 0.2, 0.3, 0.4):  # the second one has no room
            ended = {} if lr == 0.2 else {"state": "running", "metrics": {}}
            make_run(Path("runs"), lr=lr, model__width=width, dropout=0.1 * (width % 2), name=f"{lr}-{width}", **ended)
    figures = drawn(by=["dropout", "model.width", "lr"])
    assert "test-accuracy-heat-map" not in figures
    assert "test-accuracy-by-model.width" in figures


def test_lines_that_other_figures_do_not_have_are_not_hidden_with_theirs():
    for lr in (0.1, 1.0):
        for batch_size in (16, 32):
            make_run(Path("runs"), lr=lr, batch_size=batch_size, name=f"{lr}-{batch_size}")
    figures = drawn()
    assert 'class="s0"' in figures["test-accuracy-by-batch_size"][1]  # a line for each lr, as in the page
    assert 'class="s0"' not in figures["test-accuracy-by-lr"][1]


def test_log_axes_have_plain_numbers_like_the_axes_of_config_values():
    from matplotlib.figure import Figure

    labels = []
    for low, high in ((0.5, 20), (2e-6, 3)):
        axes = Figure().add_subplot(xscale="log", xlim=(low, high))
        log_axis(axes.xaxis)
        axes.figure.draw_without_rendering()
        labels.append([tick.get_text() for tick in axes.get_xticklabels() if low <= float(tick.get_text()) <= high])
    assert labels == [["0.5", "1", "2", "5", "10", "20"], ["1e-05", "1e-04", "0.001", "0.01", "0.1", "1"]]
