"""Colors of norms, as color-blind readers see them."""

from itertools import combinations

import numpy as np
import pytest

from normexp.norms import NORMS
from normexp.plotting.colors import NORM_STYLES

VISION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""Maps of linear RGB (Machado, Oliveira and Fernandes 2009, table 1, severity 1)."""

RGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color, vision):
    """CIELAB coordinates (white D65) of a hex color with this vision."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(RGB_TO_XYZ @ np.clip(np.array(VISION[vision]) @ linear, 1e-3, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_no_two_norms_look_alike(vision):
    """A difference of 10 is that of neighboring hues at a glance; just noticeable is about 2."""
    assert list(NORM_STYLES) == list(NORMS)
    colors = {norm: lab(color, vision) for norm, (color, _, _) in NORM_STYLES.items()}
    assert [pair for pair in combinations(colors, 2) if np.linalg.norm(colors[pair[0]] - colors[pair[1]]) < 10] == []


def test_dashes_and_markers_all_differ():
    for look in (1, 2):
        assert len({str(style[look]) for style in NORM_STYLES.values()}) == len(NORM_STYLES)
