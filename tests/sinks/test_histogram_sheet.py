"""The histogram sheet, checked by its pixels."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from normexp.plotting import sheet as drawing
from normexp.plotting.density import MAX_SNAPSHOTS, History
from normexp.plotting.sheet import Sheet, draw_sheets
from normexp.probes.distribution import Distributions
from normexp.records import Histogram, Record
from normexp.sinks.histogram_sheet import HistogramSheet


def histogram(values):
    return Distributions()({"x": np.asarray(values, dtype=np.float32)})["x"].histogram


def log(sheet, step, values, *, evaluates=False, tag="activation_in/fc1"):
    scalars = {"val/accuracy": 0.5} if evaluates else {"train/loss": 1.0}
    sheet.log(Record(step, 0.0, 0.0, scalars, {tag: histogram(values)} if values is not None else {}))


def draw(histories):
    (picture,) = draw_sheets([Sheet("run", "norm=bn, model=mlp, data=digits", histories)])
    return picture


def pixels(history, picture=None):
    """Darkness of the pixels of the only panel, lowest values last: 0 is white, 1 black."""
    histories = {"fc1": {"activation_in": history}}
    image = Image.open(io.BytesIO((picture or draw(histories)).png)).convert("L")
    places = drawing.layout(histories)
    left, top = places.lefts["activation_in"], places.top(0)
    crop = image.crop((left, top, left + drawing.WIDTH, top + places.height))
    return 1 - np.asarray(crop)[::-1] / 255


def test_the_picture_shows_where_the_values_were():
    generator, history = np.random.default_rng(0), History()
    for step in range(0, 1001, 100):
        history.add(step, histogram(generator.normal(0 if step < 500 else 10, 1, 4000)))
    dark = pixels(history)
    early, late = dark[:, 40:200].mean(1), dark[:, 360:520].mean(1)
    heights = np.linspace(-4, 14, len(dark))  # about what was seen
    assert heights[early.argmax()] == pytest.approx(0, abs=1)
    assert heights[late.argmax()] == pytest.approx(10, abs=1)
    assert early[heights > 6].max() < 0.05
    assert late[heights < 4].max() < 0.05


def test_densities_are_on_a_log_scale():
    history = History()
    history.add(0, histogram([0.5] * 990 + [10.5] * 10))
    history.add(1, histogram([0.5] * 990 + [10.5] * 10))
    column = pixels(history)[:, 40]
    assert column[-2] > 0.2  # a hundredth of the density is still plain to see
    assert column[len(column) // 2] < 0.05


def test_bins_that_change_keep_the_density():
    """Bins of twice the width and count are as dark."""
    history = History()
    history.add(0, Histogram([i / 8 for i in range(65)], [10] * 64, 0, 8, 0, 0, 0))
    history.add(100, Histogram([i / 4 for i in range(65)], [20] * 32 + [0] * 32, 0, 8, 0, 0, 0))
    dark = pixels(history)
    assert np.allclose(dark[20, :200], dark[20, -200:], atol=0.01)
    assert dark[20, 0] > 0.5


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4, 0.0])
def test_no_value_is_lost_in_narrow_distributions(spread):
    generator, history = np.random.default_rng(0), History()
    for step in range(6):
        history.add(step, histogram(generator.normal(0, 1, 1000)))
    for step in range(6, 11):
        history.add(step, histogram(generator.normal(0.3, spread, 1000)))
    for height in (96, 24):
        found = history.resample(height, history.value_range())
        assert found.shares.sum(axis=0) == pytest.approx(np.ones(11))
        assert found.medians[-1] == pytest.approx(0.3, abs=0.01 + spread / 5)
    assert pixels(history)[:, -1].max() > 0.45  # where all values are equal, the median's line covers them


def test_divergence_does_not_hide_earlier_snapshots():
    generator, history = np.random.default_rng(0), History()
    for step in range(8):
        history.add(step, histogram(generator.normal(0, 1, 1000)))
    for step, scale in enumerate((1e6, 1e30, 3e38), start=8):
        history.add(step, histogram(scale * generator.uniform(-1, 1, 1000)))
    history.add(11, histogram([np.nan] * 10))
    found = history.resample(96, history.value_range())
    assert -6 < found.low < -2
    assert 2 < found.high < 6
    assert found.shares[:, 8].sum() == pytest.approx(1, abs=1e-4)
    assert found.shares[[0, -1], 8].sum() == pytest.approx(1, abs=1e-4)
    assert found.shares[:, 11].sum() == 0
    assert draw({"fc1": {"activation_in": history}}).png


def test_nothing_finite_is_grey():
    history = History()
    history.add(0, histogram(np.linspace(-1, 1, 500)))
    history.add(10, histogram([np.nan] * 10))
    dark = pixels(history)
    last = dark[2:-2, -5]
    assert (last == last[0]).all()
    assert 0.1 < last[0] < 0.5
    only = History()
    only.add(0, histogram([np.nan] * 10))
    assert (pixels(only)[2:-2, 2:-2] == last[0]).all()


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
    sheet = HistogramSheet(path, "norm=bn", lambda picture, step: shown.append((step, picture.png)))
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


def test_frequent_evaluations_do_not_draw_each_time(tmp_path):
    shown = []
    sheet = HistogramSheet(tmp_path / "histograms.png", "norm=bn", lambda picture, step: shown.append(step))
    for step in range(30):
        log(sheet, step, [0.0, 1.0], evaluates=True)
    assert shown == [0, 1, 2, 4, 7, 11, 17, 26]
    sheet.close(success=True)
    assert shown[-1] == 29


def test_a_long_run_draws_seldom(tmp_path):
    drawn = []
    sheet = HistogramSheet(tmp_path / "histograms.png", "", lambda picture, step: drawn.append(step))
    for step in range(1000):
        log(sheet, step, [0.0, 1.0], evaluates=True)
    sheet.close(success=True)
    assert drawn[:5] == [0, 1, 2, 4, 7]
    assert len(drawn) < 25
    assert drawn[-1] == 999


def test_the_sheet_names_the_run_and_explains_its_colors():
    history, other = History(), History()
    for drawn in (history, other):
        drawn.add(0, histogram(np.linspace(-1, 1, 500)))
    image = lambda picture: np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)  # noqa: E731
    titled = image(draw({"fc1": {"activation_in": history}}))
    (renamed,) = draw_sheets(
        [Sheet("another run", "norm=bn, model=mlp, data=digits", {"fc1": {"activation_in": other}})]
    )
    changed = np.abs(titled - image(renamed)).sum(axis=(1, 2))
    assert changed[: drawing.TOP - 50].any()
    assert not changed[drawing.TOP - 50 :].any()
    places = drawing.layout({"fc1": {"activation_in": history}})
    bar = titled[places.top(1) + 80, places.lefts["activation_in"] :][: drawing.WIDTH].sum(axis=1)
    assert (np.diff(bar) <= 0).mean() > 0.95  # from white to black
    assert bar[0] == 3 * 255
    assert bar[-1] < 100


def test_a_long_name_does_not_leave_the_sheet():
    history = History()
    history.add(0, histogram(np.linspace(-1, 1, 500)))
    (picture,) = draw_sheets([Sheet("norm=bn_" * 40, "", {"block." * 60: {"activation_in": history}})])
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    assert (image[:, -10:] == 255).all()
    assert picture.width < 1200


def test_sheets_drawn_together_have_common_axes():
    """The same values look the same in both, and a value has the same height in both."""
    narrow, wide = History(), History()
    for step in (0, 100):
        narrow.add(step, histogram(np.linspace(0, 1, 500)))
        wide.add(step, histogram(np.linspace(0, 10, 500)))
    wide.add(200, histogram(np.linspace(0, 1, 500)))
    sheets = [Sheet("a", "", {"fc1": {"activation_in": narrow}}), Sheet("b", "", {"fc1": {"activation_in": wide}})]
    a, b = (pixels(narrow, picture) for picture in draw_sheets(sheets))
    assert a[len(a) // 2 :, 100].max() < 0.01  # nothing above 5, although its own range ends at 1
    assert b[len(b) // 2, 100] > 0.2
    assert np.allclose(a[:, 10], b[:, -10])  # at step 0 of one, at step 200 of the other


def test_no_picture_without_histograms(tmp_path):
    sheet = HistogramSheet(tmp_path / "histograms.png", "", lambda picture, step: pytest.fail("drawn"))
    log(sheet, 1, [1.0], tag="gamma/fc1", evaluates=True)
    sheet.close(success=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layers", [1, 20, 120])
def test_many_layers_fit_on_a_sheet(layers):
    history = History()
    history.add(0, histogram(np.arange(64.0)))
    rows = {f"block{i}.conv1": {"activation_in": history, "norm_out": history} for i in range(layers)}
    picture = draw(rows)
    assert Image.open(io.BytesIO(picture.png)).size == (picture.width, picture.height)
    assert picture.height < 9000
