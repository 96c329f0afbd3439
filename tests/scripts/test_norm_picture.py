"""docs/norms.svg shows the axes of the norms."""

import norm_picture
import pytest

from normexp.norms import NORMS
from tests.conftest import ROOT, compose


def test_the_picture_is_up_to_date():
    assert (ROOT / "docs" / "norms.svg").read_text(encoding="utf-8") == norm_picture.draw()


@pytest.mark.parametrize(("title", "axes"), [(title, axes) for title, _, axes, _ in norm_picture.PANELS])
def test_a_panel_has_the_axes_of_its_norms(title, axes):
    names, _, key = title.partition(": ")
    for name in names.split(", "):
        config = compose(f"norm={name}", f"norm.{key}") if key.startswith("axes") else compose(f"norm={name}")
        # Ghost batches are parts of B. iternorm averages over B, H, W, too, for each pair of a group's channels.
        shown = axes.replace("B/N", "B") if name == "bn" else axes.removeprefix("C/G,") if name == "iternorm" else axes
        assert NORMS[name].axes_of(config.norm)[0] == shown


def test_every_norm_is_shown():
    shown = {name for title, *_ in norm_picture.PANELS for name in title.partition(": ")[0].split(", ")}
    assert shown == NORMS.keys() - {"none"}
