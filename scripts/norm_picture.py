"""Draw docs/norms.svg: for each norm, the values of a convolution's output (B, C, H W) that share statistics.

    python scripts/norm_picture.py [--out docs/norms.svg]

After Wu and He 2018, figure 2. Which values are blue follows from the axes of the norms (normexp/norms); a test compares the two.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHANNELS, SAMPLES, POSITIONS = 6, 6, 4
GROUP, GHOST = 3, 3  # channels of a group, samples of a ghost batch
CELL, DEPTH = 15.0, (8.0, -6.0)  # a cell of the front, and the offset to the next sample, in pixels
WIDTH, HEIGHT, COLUMNS = 214, 172, 4  # of a panel
MARGIN = 14

TINTS = {"front": 1.0, "top": 0.72, "side": 0.86}  # strength of a color on each visible side
PALE, LINE, INK, FAINT = "#f1f3f5", "#8a949e", "#1d2b3a", "#556"
BLUE, ORANGE, GREEN = "#0072b2", "#e69f00", "#009e73"


@dataclass(frozen=True)
class Box:
    """Values that share statistics: ranges of samples, channels and positions."""

    samples: range
    channels: range
    positions: range
    color: str = BLUE


def box(axes: str, color: str = BLUE) -> Box:
    """The box at the front left of the cube that spans these axes, such as "C/G,H,W"."""
    names = axes.split(",")
    channels = CHANNELS if "C" in names else GROUP if "C/G" in names else 1
    samples = SAMPLES if "B" in names else GHOST if "B/N" in names else 1
    positions = POSITIONS if "H" in names else 1
    return Box(range(samples), range(channels), range(positions), color)


PANELS: list[tuple[str, str, str, list[Box]]] = [
    ("bn, brn", "each channel: B, H, W", "B,H,W", [box("B,H,W")]),
    ("bn: ghost_batch, accumulate", "each channel: part of B, H, W", "B/N,H,W", [box("B/N,H,W")]),
    ("ln, rms: axes=all", "each sample: C, H, W", "C,H,W", [box("C,H,W")]),
    ("ln, rms: axes=channel", "each position of each sample: C", "C", [box("C")]),
    ("gn, evonorm", "each sample and group: C/G, H, W", "C/G,H,W", [box("C/G,H,W")]),
    ("in, frn", "each sample and channel: H, W", "H,W", [box("H,W")]),
    (
        "sn",
        "in (blue), ln (orange), bn (green)",
        "H,W + C,H,W + B,H,W",
        [box("C,H,W", ORANGE), box("B,H,W", GREEN), box("H,W")],
    ),
    ("iternorm", "each group of channels: B, H, W", "C/G,B,H,W", [box("C/G,B,H,W")]),
    ("dyt, derf", "no statistics: each value alone", "", [box("")]),
]
"""Title, explanation, axes and boxes. A later box covers earlier ones."""

WEIGHTS = [
    ("weight=ws, sws, weight_norm", "each filter of a layer", range(1)),
    ("weight=spectral", "all filters of a layer", range(POSITIONS)),
]
"""Title, explanation, and the rows of the matrix (filters, fan_in) that are blue."""


def mix(color: str, strength: float) -> str:
    """Mix a color with white."""
    parts = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * strength):02x}" for part in parts)


def polygon(points: list[tuple[float, float]], fill: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{places}" fill="{fill}"/>'


def cube(x: float, y: float, boxes: list[Box]) -> Iterator[str]:
    """The three visible sides of a cube whose front has its top left corner at x, y, cell by cell."""
    dx, dy = DEPTH

    def fill(side: str, sample: int, channel: int, position: int) -> str:
        color = PALE
        for each in boxes:
            if sample in each.samples and channel in each.channels and position in each.positions:
                color = each.color
        return color if color == PALE else mix(color, TINTS[side])

    right = x + CHANNELS * CELL
    for sample in reversed(range(SAMPLES)):
        near, far = sample, sample + 1
        for c in range(CHANNELS):
            left = x + c * CELL
            corners = [(left, near), (left + CELL, near), (left + CELL, far), (left, far)]
            yield polygon([(at + b * dx, y + b * dy) for at, b in corners], fill("top", sample, c, 0))
        for p in range(POSITIONS):
            upper = y + p * CELL
            corners = [(upper, near), (upper, far), (upper + CELL, far), (upper + CELL, near)]
            places = [(right + b * dx, at + b * dy) for at, b in corners]
            yield polygon(places, fill("side", sample, CHANNELS - 1, p))
    for c in range(CHANNELS):
        for p in range(POSITIONS):
            left, upper = x + c * CELL, y + p * CELL
            places = [(left, upper), (left + CELL, upper), (left + CELL, upper + CELL), (left, upper + CELL)]
            yield polygon(places, fill("front", 0, c, p))


def text(x: float, y: float, words: str, *, size: float = 11, weight: int = 400, fill: str = INK) -> str:
    about = f'text-anchor="middle" font-size="{size:g}" font-weight="{weight}" fill="{fill}" stroke="none"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {about}>{words}</text>'


def panel(column: int, row: int, title: str, explanation: str) -> tuple[float, float, list[str]]:
    """Top left corner of the front of what the panel shows, and its captions."""
    left, top = MARGIN + column * WIDTH, MARGIN + row * HEIGHT
    middle = left + WIDTH / 2
    captions = [text(middle, top + 10, title, size=12, weight=600), text(middle, top + 26, explanation, fill=FAINT)]
    return middle - (CHANNELS * CELL + SAMPLES * DEPTH[0]) / 2, top + 38 - SAMPLES * DEPTH[1], captions


def cube_labels(x: float, y: float) -> list[str]:
    deep = SAMPLES / 2
    return [
        text(x + CHANNELS * CELL / 2, y + POSITIONS * CELL + 13, "C", fill=FAINT),
        text(x - 18, y + POSITIONS * CELL / 2 + 4, "H, W", fill=FAINT),
        text(x + CHANNELS * CELL + deep * DEPTH[0] + 12, y + POSITIONS * CELL + deep * DEPTH[1] + 8, "B", fill=FAINT),
    ]


def matrix(x: float, y: float, rows: range) -> Iterator[str]:
    """A matrix of weights, (filters, fan_in)."""
    for r in range(POSITIONS):
        for c in range(CHANNELS):
            left, upper = x + c * CELL, y + r * CELL
            places = [(left, upper), (left + CELL, upper), (left + CELL, upper + CELL), (left, upper + CELL)]
            yield polygon(places, BLUE if r in rows else PALE)
    yield text(x + CHANNELS * CELL / 2, y + POSITIONS * CELL + 13, "fan_in", fill=FAINT)
    yield text(x - 24, y + POSITIONS * CELL / 2 + 4, "filters", fill=FAINT)


def draw() -> str:
    """The picture as SVG, on white, so that it is readable on a dark page."""
    parts: list[str] = []
    for number, (title, explanation, _, boxes) in enumerate(PANELS):
        x, y, captions = panel(number % COLUMNS, number // COLUMNS, title, explanation)
        parts += [*captions, *cube(x, y, boxes), *cube_labels(x, y)]
    for number, (title, explanation, rows) in enumerate(WEIGHTS, start=len(PANELS)):
        x, y, captions = panel(number % COLUMNS, number // COLUMNS, title, explanation)
        parts += [*captions, *matrix(x + SAMPLES * DEPTH[0] / 2, y - 14, rows)]
    rows_needed = -(-(len(PANELS) + len(WEIGHTS)) // COLUMNS)
    width, height = 2 * MARGIN + COLUMNS * WIDTH, 2 * MARGIN + rows_needed * HEIGHT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    head += f'font-family="system-ui, sans-serif" stroke-width="0.7" stroke-linejoin="round" stroke="{LINE}">'
    about = "<title>The values of a feature map that share a mean and a variance, for each norm</title>"
    back = f'<rect width="{width}" height="{height}" rx="6" fill="#fff" stroke="none"/>'
    return "\n".join([head, about, back, *parts, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "norms.svg")
    arguments = parser.parse_args()
    arguments.out.write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
