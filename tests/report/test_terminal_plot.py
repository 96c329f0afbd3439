"""`normexp report --plot`: curves on the terminal."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from normexp.cli import main
from normexp.report.braille import Axis, Line, chart, fit_axis
from normexp.report.read import read
from normexp.report.terminal_plot import read_plots
from tests.report.runs import make_run, write_metrics


def drawn(lines, *, width=20, height=5, color=False, ascii_only=False):
    y_axis = fit_axis(np.concatenate([line.y for line in lines]))
    rows = chart(lines, width=width, height=height, color=color, ascii_only=ascii_only, y_axis=y_axis)
    return [row.plain for row in rows]


def line(name, *y):
    return Line(name, np.arange(len(y), dtype=float), np.array(y, dtype=float))


def make_runs():
    for norm, values in (("none", [0.1, 0.2, 0.3]), ("bn", [0.5, 0.9, 1.0])):
        for seed, shift in enumerate((-0.05, 0.05)):
            directory = make_run(Path("runs"), norm=norm, seed=seed, accuracy=values[-1])
            points = [{"step": 10 * i, "val/accuracy": value + shift} for i, value in enumerate(values)]
            write_metrics(directory, points)


def test_lines_in_letters():
    assert drawn([line("up", 0, 1, 2, 3), line("down", 3, 2, 1, 0)], ascii_only=True, width=16) == [
        "3 |bb         aa",
        "2 |  bbb   aaa  ",
        "  |     aaa     ",
        "1 |  aaa   bbb  ",
        "0 |aa         bb",
        "  +-------------",
        "   0       2",
        "   a up",
        "   b down",
    ]


def test_a_single_line_is_drawn_in_braille():
    assert drawn([line("x", 0, 1)], width=12, height=3) == [
        "  1 ┤    ⢀⡠⠊",
        "0.5 ┤  ⢀⠔⠁  ",
        "  0 ┤⡠⠊⠁    ",
        "    └───────",
        "     0     1",
        "     ⠤⠤ x",
    ]


def test_an_axis_over_decades_is_logarithmic():
    axis = fit_axis(np.array([1e-3, 0.5, 10.0]))
    assert axis == Axis(-3, 1, logarithmic=True)
    assert axis.ticks(6) == pytest.approx([1e-3, 1e-2, 0.1, 1, 10])
    assert fit_axis(np.array([1e-3, 10.0]), allow_log=False).ticks(6) == [2, 4, 6, 8, 10]
    assert fit_axis(np.array([5.0])) == Axis(4.5, 5.5)
    assert fit_axis(np.array([0.0])) == Axis(-1, 1)


@pytest.mark.parametrize("values", [[0.0, 1e100], [-1e-300, 1e-300], [1e-300, 1e100], [7.0, 7.0], [3.0]])
def test_extreme_values_are_drawn(values):
    rows = drawn([line("x", *values)], ascii_only=True, width=40)
    assert any("a" in row for row in rows[:5])
    assert all(len(row) <= 40 for row in rows)


def test_curves_are_averaged_over_seeds():
    make_runs()
    (plot,) = read_plots(read([Path("runs")]).runs, "val/accuracy", metric="test/accuracy", by=None)
    assert [own.name for own in plot.lines] == ["norm=bn", "norm=none"]
    assert plot.lines[0].x.tolist() == [0, 10, 20]
    assert plot.lines[0].y.tolist() == pytest.approx([50, 90, 100])
    assert plot.notes == ["Lines are means over the completed runs of a group."]


def test_too_many_lines_are_cut_to_the_best():
    for i in range(12):
        directory = make_run(Path("runs"), lr=0.1 * 2**i, accuracy=i / 20)
        write_metrics(directory, [{"step": step, "val/accuracy": i / 20} for step in (1, 2)])
    (plot,) = read_plots(read([Path("runs")]).runs, "val/accuracy", metric="test/accuracy", by=None)
    assert len(plot.lines) == 8
    assert plot.lines[0].y.tolist() == pytest.approx([55, 55])
    assert "best 8 of 12 groups" in plot.notes[-1]


@pytest.mark.parametrize(("encoding", "color"), [("utf-8", None), ("utf-8", "256"), ("ascii", None)])
def test_what_a_console_can_show(encoding, color):
    make_runs()
    (plot,) = read_plots(read([Path("runs")]).runs, "val/accuracy", metric="test/accuracy", by=None)
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    plot.show(Console(file=file, width=80, force_terminal=True, color_system=color))
    file.flush()
    text = file.buffer.getvalue().decode(encoding)
    assert "val accuracy (%) over steps" in text
    assert any("\u2800" < character <= "\u28ff" for character in text) == (color is not None)
    assert ("a norm=bn" in text) == (color is None)
    assert text.isascii() == (encoding == "ascii")


def test_the_command_plots_after_the_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    make_runs()
    assert main(["report", "runs", "--plot", "val/accuracy"]) == 0
    out = capsys.readouterr().out
    assert out.index("test accuracy") < out.index("val accuracy (%) over steps") < out.index("a norm=bn")
    assert all(len(row) <= 80 for row in out.splitlines())
