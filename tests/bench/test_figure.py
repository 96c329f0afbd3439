"""The figure of the costs."""

import pytest

from normexp.bench.figure import draw
from normexp.bench.results import CaseResult, Costs
from normexp.plotting.style import figure_style


def costs(*forward):
    return Costs(1, 1000, seconds={"forward": [*forward], "backward": [1.0] * 3, "inference": [1.0] * 3, "folded": []})


@pytest.mark.parametrize("bn", [(1.5, 2.0, 40.0), (0.01, 2.0, 2.5), (1.0, 1.0, 1.0)])
def test_error_bars_are_not_clipped(bn):
    networks = {"none": costs(1.0, 1.0, 1.0), "bn": costs(*bn), "ln": costs(1.2, 1.3, 1.4)}
    results = [CaseResult("mlp", "mnist", size, "cpu", 1, (4, 9), networks) for size in (8, 32)]
    with figure_style():
        axes = draw(results).axes[0, 0]
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    assert len(axes.containers) == 2  # bn and ln
    for _, caps, (bars,) in axes.containers:
        ends = [point for segment in bars.get_segments() for point in segment] + [
            point for cap in caps for point in cap.get_xydata()
        ]
        assert all(left < x < right and low < y < high for x, y in ends)
    expected = CaseResult("mlp", "mnist", 8, "cpu", 1, (4, 9), networks).ratio("bn", "forward")
    assert axes.containers[0][2][0].get_segments()[0][:, 1] == pytest.approx([expected.low, expected.high])
