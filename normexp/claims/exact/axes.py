"""Batch, layer, instance and group norm are one operation, x_hat = (x - mean) / sqrt(var + eps), over different sets of values
(Wu and He 2018, section 3.1 and figure 2). Of an activation (B, C, H, W), one mean is taken over

    bn  (B, H, W)    ln  (C, H, W)    in  (H, W)    gn  (C/G, H, W)

so that gn with one group is ln, and with a group for each channel in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor

SETS = {"bn": "B,H,W", "ln": "C,H,W", "in": "H,W", "gn": "C/G,H,W"}
AXES = {"bn": (0, 2, 3), "ln": (1, 2, 3), "in": (2, 3)}
EPS = 1e-5


def over(x: Tensor, name: str, groups: int) -> Tensor:
    """The one operation, over the set of a norm; (B, F) is (B, F, 1, 1)."""
    from normexp.claims.exact.pieces import normalise

    image = x[..., None, None] if x.dim() == 2 else x
    if name == "gn":
        image = image.unflatten(1, (groups, -1))
        return normalise(image, (2, 3, 4), eps=EPS).reshape(x.shape)
    return normalise(image, AXES[name], eps=EPS).reshape(x.shape)


def _keys(name: str, groups: int = 2) -> dict[str, int]:
    return {"groups": groups} if name == "gn" else {}


@seeded
def compute(seed: int) -> Worked:
    import torch

    from normexp.claims.exact.pieces import largest, norm, randn, values

    def layer(name: str, shape: tuple[int, ...], x: Tensor, groups: int = 2) -> Tensor:
        keys = _keys(name, groups)
        with torch.no_grad():
            y: Tensor = norm(name, shape, eps=EPS, **keys)(x)
        return y

    image, vector = randn(3, 4, 3, 2, mean=2, std=3), randn(3, 4, mean=2, std=3)
    outputs = {name: layer(name, (4, 3, 2), image) for name in SETS}
    conv = {name: largest(over(image, name, 2) - outputs[name]) for name in SETS}
    linear = {name: largest(over(vector, name, 2) - layer(name, (4,), vector)) for name in ("bn", "ln", "gn")}
    one, each = (layer("gn", (4, 3, 2), image, groups) for groups in (1, 4))
    pairs = [(a, b) for a in SETS for b in SETS if a < b]
    sizes = {name: values(name, (4, 3, 2), 3, **_keys(name)) for name in SETS}
    return Worked(
        numbers={
            **{f"difference_{name}": max(conv[name], linear.get(name, 0.0)) for name in SETS},
            "one_group_from_ln": largest(one - outputs["ln"]),
            "group_a_channel_from_in": largest(each - outputs["in"]),
            "closest_two": min(largest(outputs[a] - outputs[b]) for a, b in pairs),
        },
        tables=(
            Table(
                "A batch of 3 samples with 4 channels of 3x2 values, gn with 2 groups",
                ("norm", "over", "values share a mean", "means", "largest difference", "behind linear"),
                tuple((n, SETS[n], sizes[n], image.numel() // sizes[n], conv[n], linear.get(n, "-")) for n in SETS),
            ),
        ),
        drawing=_drawing(),
    )


def _drawing() -> str:
    """The cube of Wu and He's figure 2: # are the values that share a mean with the front, top, right one, found by the
    gradient of that one's output, which reaches no others."""
    from normexp.claims.exact.pieces import gradient, norm, randn

    cubes = []
    for name, of in SETS.items():
        x = randn(3, 4, 3, 1).requires_grad_()
        layer = norm(name, (4, 3, 1), **_keys(name))
        (reach,) = gradient(layer(x)[0, -1, 0, 0], x)
        title = f"{name}: {of}" + (", G=2" if name == "gn" else "")
        cubes.append([title, *_cube(reach[..., 0] != 0)])
    lines = ["   ".join(f"{line:<16}" for line in row).rstrip() for row in zip(*cubes, strict=True)]
    return "\n".join([*lines, "", "To the right: channels C. Downwards: positions H,W. To the back: samples B."])


def _cube(marked: Tensor) -> list[str]:
    """A box with the marks (B, C, P) on its front (channels by positions), its top and its right side."""
    samples, channels, positions = marked.shape
    width, top = 2 * channels + 3, samples + 1
    grid = [[" "] * (width + samples + 1) for _ in range(top + positions + 2)]

    def put(row: int, column: int, text: str) -> None:
        grid[row][column : column + len(text)] = text

    def cells(sample: int, position: int) -> str:
        return " ".join("#" if marked[sample, c, position] else "." for c in range(channels))

    edge = "+" + "-" * (width - 2) + "+"
    for row, shift in ((0, samples + 1), (top, 0), (top + positions + 1, 0)):
        put(row, shift, edge)
    for p in range(positions):
        put(top + 1 + p, 0, f"| {cells(0, p)} |")
        put(1 + p, width + samples, "|")
    for n in range(samples):
        put(top - 1 - n, 1 + n, f"/ {cells(n, 0)} /")
        for p in range(positions):
            put(top - n + p, width + n, "#" if marked[n, -1, p] else ".")
        put(top + positions - n, width + n, "/")
    put(1 + positions, width + samples, "+")
    return ["".join(line) for line in grid]


ENTRY = Exact(name="axes", compute=compute)
