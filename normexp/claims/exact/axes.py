"""Batch, layer, instance and group norm are one operation over different sets of values (Wu and He 2018, section 3.1, figure 2).

The operation is x_hat = (x - mean) / sqrt(var + eps). For activations (B, C, H, W), each mean is taken over

    bn  (B, H, W)    ln  (C, H, W)    in  (H, W)    gn  (C/G, H, W)

so gn with one group is ln, and gn with one channel per group is in.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import grad

from normexp.claims.exact.base import ExactClaim, ExactResult, Table
from normexp.claims.exact.common import build_norm, max_abs, normalize, randn, values_per_mean

SETS = {"bn": "B,H,W", "ln": "C,H,W", "in": "H,W", "gn": "C/G,H,W"}
AXES = {"bn": (0, 2, 3), "ln": (1, 2, 3), "in": (2, 3)}
EPS = 1e-5


def reference(x: Tensor, name: str, groups: int) -> Tensor:
    """The one operation over the set of the named norm; (B, F) is treated as (B, F, 1, 1)."""
    image = x[..., None, None] if x.dim() == 2 else x
    if name == "gn":
        image = image.unflatten(1, (groups, -1))
        return normalize(image, (2, 3, 4), eps=EPS).reshape(x.shape)
    return normalize(image, AXES[name], eps=EPS).reshape(x.shape)


def _keys(name: str, groups: int = 2) -> dict[str, int]:
    return {"groups": groups} if name == "gn" else {}


def _normexp(name: str, x: Tensor, groups: int = 2) -> Tensor:
    """The same with normexp's own norm."""
    with torch.no_grad():
        y: Tensor = build_norm(name, tuple(x.shape[1:]), eps=EPS, **_keys(name, groups))(x)
    return y


def compute() -> ExactResult:
    image, vector = randn(3, 4, 3, 2, mean=2, std=3), randn(3, 4, mean=2, std=3)
    outputs = {name: _normexp(name, image) for name in SETS}
    conv = {name: max_abs(reference(image, name, 2) - outputs[name]) for name in SETS}
    linear = {name: max_abs(reference(vector, name, 2) - _normexp(name, vector)) for name in ("bn", "ln", "gn")}
    single_group, group_per_channel = (_normexp("gn", image, groups) for groups in (1, 4))
    pairs = [(a, b) for a in SETS for b in SETS if a < b]
    sizes = {name: values_per_mean(name, (4, 3, 2), 3, **_keys(name)) for name in SETS}
    return ExactResult(
        numbers={
            **{f"difference_{name}": max(conv[name], linear.get(name, 0.0)) for name in SETS},
            "one_group_from_ln": max_abs(single_group - outputs["ln"]),
            "group_a_channel_from_in": max_abs(group_per_channel - outputs["in"]),
            "closest_two": min(max_abs(outputs[a] - outputs[b]) for a, b in pairs),
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
    """The cubes of Wu and He's figure 2. # marks the values that share a mean with the value at the front, top, right.

    They are the ones with a nonzero gradient from that value's output.
    """
    cubes = []
    for name, axes in SETS.items():
        x = randn(3, 4, 3, 1).requires_grad_()
        norm = build_norm(name, (4, 3, 1), **_keys(name))
        (sensitivity,) = grad(norm(x)[0, -1, 0, 0], x)
        title = f"{name}: {axes}" + (", G=2" if name == "gn" else "")
        cubes.append([title, *_cube(sensitivity[..., 0] != 0)])
    lines = ["   ".join(f"{line:<16}" for line in row).rstrip() for row in zip(*cubes, strict=True)]
    return "\n".join([*lines, "", "To the right: channels C. Downwards: positions H,W. To the back: samples B."])


def _cube(marked: Tensor) -> list[str]:
    """Draw a box with the marks (B, C, P) on its front (channels by positions), top and right side."""
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


ENTRY = ExactClaim("axes", compute)
