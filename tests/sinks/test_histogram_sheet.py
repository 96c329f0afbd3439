"""The histogram sheet, checked by its pixels."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from normexp.probes.distribution import Distributions
from normexp.records import Histogram, Record
from normexp.sinks import histogram_sheet
from normexp.sinks.histogram_sheet import MAX_SNAPSHOTS, HistogramSheet, History, draw_sheet, to_panel


def histogram(values):
    return Distributions()({"x": np.asarray(values, dtype=np.float32)})["x"].histogram


def log(sheet, step, values, *, evaluates=False, tag="activation_in/fc1"):
    scalars = {"val/accuracy": 0.5} if evaluates else {"train/loss": 1.0}
    sheet.log(Record(step, 0.0, 0.0, scalars, {tag: histogram(values)} if values is not None else {}))


def pixels(picture):
    """Darkness of the first panel's pixels, lowest values last: 0 is white, 1 black."""
    image = Image.open(io.BytesIO(picture.png)).convert("L")
    left, top = histogram_sheet.MARGIN + histogram_sheet.GAP, histogram_sheet.TOP
    crop = image.crop((left, top, left + histogram_sheet.WIDTH, top + histogram_sheet.row_height(1)))
    return 1 - np.asarray(crop)[::-1] / 255


def test_the_picture_shows_where_the_values_were():
    generator, history = np.random.default_rng(0), History()
    for step in range(0, 1001, 100):
        history.add(step, histogram(generator.normal(0 if step < 500 else 10, 1, 4000)))
    dark = pixels(draw_sheet({"fc1": {"activation_in": history}}))
    early, late = dark[:, 20:100].mean(1), dark[:, 180:260].mean(1)
    heights = np.linspace(-4, 14, len(dark))  # about what was seen
    assert heights[early.argmax()] == pytest.approx(0, abs=1)
    assert heights[late.argmax()] == pytest.approx(10, abs=1)
    assert early[heights > 6].max() < 0.05
    assert late[heights < 4].max() < 0.05


def test_densities_are_on_a_log_scale():
    history = History()
    history.add(0, histogram([0.5] * 990 + [10.5] * 10))
    history.add(1, histogram([0.5] * 990 + [10.5] * 10))
    column = pixels(draw_sheet({"fc1": {"activation_in": history}}))[:, 20]
    assert column[-2] > 0.2  # a hundredth of the density is still plain to see
    assert column[len(column) // 2] < 0.05


def test_bins_that_change_keep_the_density():
    """Bins of twice the width and count are as dark."""
    history = History()
    history.add(0, Histogram([i / 8 for i in range(65)], [10] * 64, 0, 8, 0, 0, 0))
    history.add(100, Histogram([i / 4 for i in range(65)], [20] * 32 + [0] * 32, 0, 8, 0, 0, 0))
    dark = pixels(draw_sheet({"fc1": {"activation_in": history}}))
    assert np.allclose(dark[10, :100], dark[10, -100:], atol=0.01)
    assert dark[10, 0] > 0.5


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4, 0.0])
def test_no_value_is_lost_in_narrow_distributions(spread):
    generator, history = np.random.default_rng(0), History()
    for step in range(6):
        history.add(step, histogram(generator.normal(0, 1, 1000)))
    for step in range(6, 11):
        history.add(step, histogram(generator.normal(0.3, spread, 1000)))
    for height in (96, 24):
        found = to_panel(history, height)
        assert found.density.sum(axis=0) == pytest.approx(np.ones(11))
        assert found.medians[-1] == pytest.approx(0.3, abs=0.01 + spread / 5)
    assert pixels(draw_sheet({"fc1": {"activation_in": history}}))[:, -1].max() > 0.85


def test_divergence_does_not_hide_earlier_snapshots():
    generator, history = np.random.default_rng(0), History()
    for step in range(8):
        history.add(step, histogram(generator.normal(0, 1, 1000)))
    for step, scale in enumerate((1e6, 1e30, 3e38), start=8):
        history.add(step, histogram(scale * generator.uniform(-1, 1, 1000)))
    history.add(11, histogram([np.nan] * 10))
    found = to_panel(history, 96)
    assert -6 < found.low < -2
    assert 2 < found.high < 6
    assert found.density[:, 8].sum() == pytest.approx(1, abs=1e-4)
    assert found.density[[0, -1], 8].sum() == pytest.approx(1, abs=1e-4)
    assert found.density[:, 11].sum() == 0
    assert draw_sheet({"fc1": {"activation_in": history}}).png


def test_nothing_finite_is_grey():
    history = History()
    history.add(0, histogram(np.linspace(-1, 1, 500)))
    history.add(10, histogram([np.nan] * 10))
    dark = pixels(draw_sheet({"fc1": {"activation_in": history}}))
    last = dark[2:-2, -5]
    assert (last == last[0]).all()
    assert 0.1 < last[0] < 0.5
    only = History()
    only.add(0, histogram([np.nan] * 10))
    assert (pixels(draw_sheet({"fc1": {"activation_in": only}}))[2:-2, 2:-2] == last[0]).all()


def test_memory_is_bounded_and_the_newest_snapshot_is_kept():
    history, one = History(), histogram(np.random.default_rng(0).normal(size=4000))
    tracemalloc.start()
    for step in range(10_000):
        history.add(step, one)
        assert history.steps[-1] == step
        if step == 1000:
            early, _ = tracemalloc.get_traced_memory()
    late, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(history.steps) <= MAX_SNAPSHOTS
    assert history.steps[0] == 0
    assert late < early + 50_000
    gaps = np.diff(history.steps[:-1])
    assert (gaps == gaps[0]).all()


def test_drawn_at_evaluations_and_at_the_end_if_something_is_new(tmp_path):
    shown = []
    path = tmp_path / "histograms.png"
    sheet = HistogramSheet(path, lambda picture, step: shown.append((step, picture.png)))
    log(sheet, 0, [0.0, 1.0], evaluates=True)
    log(sheet, 1, [0.0, 2.0])
    assert [step for step, _ in shown] == [0]
    log(sheet, 2, None, evaluates=True)
    log(sheet, 3, None, evaluates=True)
    assert [step for step, _ in shown] == [0, 1]
    log(sheet, 4, [0.0, 3.0])
    sheet.close(success=False)
    assert [step for step, _ in shown] == [0, 1, 4]
    assert path.read_bytes() == shown[-1][1]
    assert [p.name for p in tmp_path.iterdir()] == ["histograms.png"]


def test_no_picture_without_histograms(tmp_path):
    sheet = HistogramSheet(tmp_path / "histograms.png", lambda picture, step: pytest.fail("drawn"))
    log(sheet, 1, [1.0], tag="gamma/fc1", evaluates=True)
    sheet.close(success=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layers", [1, 20, 120])
def test_many_layers_fit_on_a_sheet(layers):
    history = History()
    history.add(0, histogram(np.arange(64.0)))
    rows = {f"block{i}.conv1": {"activation_in": history, "norm_out": history} for i in range(layers)}
    picture = draw_sheet(rows)
    assert Image.open(io.BytesIO(picture.png)).size == (picture.width, picture.height)
    assert picture.height < 7000
