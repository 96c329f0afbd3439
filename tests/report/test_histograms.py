"""Histograms of runs, read back from their event files and drawn on common axes."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from normexp.plotting.density import History
from normexp.probes.distribution import Distributions
from normexp.records import Record, RunInfo
from normexp.report import page
from normexp.report.histograms import draw_on_common_axes, read_histories
from normexp.report.read import read
from normexp.sinks.tensorboard import TensorBoard
from tests.report.runs import make_run

TAGS = ("activation_in/fc1", "activation_out/fc1", "activation_in/fc2", "gamma/fc1")


def write_events(directory: Path, *, scale: float) -> dict[str, History]:
    """Write an event file with histograms that widen, collapse to a point, and become NaN; returns the histories by tag."""
    sink, describe = TensorBoard(directory, RunInfo({}, [])), Distributions()
    generator, histories = np.random.default_rng(0), {tag: History() for tag in TAGS}
    for step, factor in ((0, 1), (10, 3), (20, 0), (30, np.nan)):
        samples = {tag: (generator.normal(size=400) * scale * factor + 0.5).astype(np.float32) for tag in TAGS}
        histograms = {tag: distribution.histogram for tag, distribution in describe(samples).items()}
        sink.log(Record(step, 0.0, 0.0, {"train/loss": 1.0}, histograms))
        for tag, histogram in histograms.items():
            histories[tag].add(step, histogram)
    sink.close(success=True)
    return histories


def two_runs():
    for norm, scale in (("none", 0.1), ("bn", 1.0)):
        directory = make_run(Path("runs"), norm=norm, name=norm)
        write_events(directory, scale=scale)
        Image.new("P", (20, 20)).save(directory / "histograms.png")
    return read([Path("runs")])


def test_histograms_are_read_back():
    written = write_events(make_run(Path("runs"), name="run"), scale=1.0)
    (run,) = read([Path("runs")]).runs
    found = read_histories(run)
    assert {f"{column}/{layer}" for layer, row in found.items() for column in row} == set(TAGS) - {"gamma/fc1"}
    for layer, row in found.items():
        for column, history in row.items():
            expected = written[f"{column}/{layer}"]
            assert history.steps == expected.steps == [0, 10, 20, 30]
            assert history.value_range() == pytest.approx(expected.value_range(), rel=1e-6)
            limits = expected.value_range()
            ours, theirs = (each.resample(50, limits) for each in (history, expected))
            np.testing.assert_allclose(ours.shares[:, :2], theirs.shares[:, :2], atol=1e-6)
            assert ours.medians[2] == pytest.approx(0.5, abs=1e-3)
            assert ours.shares[:, 3].sum() == 0


def test_the_page_of_two_runs_has_sheets_with_common_axes():
    collection = two_runs()
    own = [draw_on_common_axes([run])[0] for run in collection.runs]
    common = draw_on_common_axes(collection.runs)
    assert len(common) == 2
    assert not set(common) & set(own)
    assert {Image.open(io.BytesIO(png)).size for png in common} == {Image.open(io.BytesIO(png)).size for png in own}
    page.write_page(Path("page.html"), collection, metric="test/accuracy", by=None, title="two")
    text = Path("page.html").read_text()
    assert "Both sheets have the same axes" in text
    assert text.count("data:image/png;base64,iVBOR") == 2


def test_without_histograms_the_pictures_of_the_runs_are_shown():
    collection = two_runs()
    (events,) = Path("runs/bn").glob("events*")
    events.unlink()
    assert draw_on_common_axes(collection.runs) == []
    page.write_page(Path("page.html"), collection, metric="test/accuracy", by=None, title="two")
    text = Path("page.html").read_text()
    assert "Both sheets" not in text
    assert text.count("data:image/png;base64,iVBOR") == 2


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_damaged_event_file_is_drawn_as_far_as_it_goes(data):
    directory = Path("damaged/run")
    if not directory.exists():
        write_events(make_run(directory.parent, name="run"), scale=1.0)
    (run,) = read([directory]).runs
    (path,) = directory.glob("events*")
    content = path.read_bytes()
    try:
        damaged = bytearray(content)
        for _ in range(5):
            damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(damaged[: data.draw(st.integers(0, len(content)))])
        assert len(draw_on_common_axes([run, run])) in (0, 2)
    finally:
        path.write_bytes(content)
