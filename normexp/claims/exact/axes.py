"""Batch, layer, instance and group norm are one operation over different sets of values (Wu and He 2018, section 3.1, figure 2).

The operation is x_hat = (x - mean) / sqrt(var + eps). For activations (B, C, H, W), each mean is taken over

    bn  (B, H, W)    ln  (C, H, W)    in  (H, W)    gn  (C/G, H, W)

so gn with one group is ln, and gn with one channel per group is in.
"""

from itertools import combinations

import torch
from torch import Tensor
from torch.autograd import grad

from normexp.claims.exact.base import ExactClaim, ExactResult, build_norm, max_abs, normalize, randn, values_per_mean
from normexp.claims.verdict import Table

SETS = {"bn": "B,H,W", "ln": "C,H,W", "in": "H,W", "gn": "C/G,H,W"}
AXES = {"bn": (0, 2, 3), "ln": (1, 2, 3), "in": (2, 3), "gn": (2, 3, 4)}
EPS = 1e-5


def reference(x: Tensor, name: str) -> Tensor:
    """The one operation over the set of the named norm, gn with 2 groups; (B, F) is treated as (B, F, 1, 1)."""
    image = x[..., None, None] if x.dim() == 2 else x
    if name == "gn":
        image = image.unflatten(1, (2, -1))
    return normalize(image, AXES[name], eps=EPS).reshape(x.shape)


def apply_norm(name: str, x: Tensor, **keys: int) -> Tensor:
    """The same with normexp's own norm."""
    with torch.no_grad():
        y: Tensor = build_norm(name, tuple(x.shape[1:]), eps=EPS, **keys)(x)
    return y


def compute() -> ExactResult:
    image, vector = randn(3, 4, 3, 2, mean=2, std=3), randn(3, 4, mean=2, std=3)
    outputs = {name: apply_norm(name, image) for name in SETS}
    conv = {name: max_abs(reference(image, name) - outputs[name]) for name in SETS}
    linear = {name: max_abs(reference(vector, name) - apply_norm(name, vector)) for name in ("bn", "ln", "gn")}
    numbers = {f"difference_{name}": max(conv[name], linear.get(name, 0.0)) for name in SETS} | {
        "one_group_from_ln": max_abs(apply_norm("gn", image, groups=1) - outputs["ln"]),
        "group_a_channel_from_in": max_abs(apply_norm("gn", image, groups=4) - outputs["in"]),
        "closest_two": min(max_abs(a - b) for a, b in combinations(outputs.values(), 2)),
    }
    sizes = {name: values_per_mean(name, (4, 3, 2), 3) for name in SETS}
    heads = ("norm", "over", "values per mean", "means", "largest difference", "after linear")
    rows = [(n, SETS[n], sizes[n], image.numel() // sizes[n], conv[n], linear.get(n, "-")) for n in SETS]
    table = Table("3 samples with 4 channels of 3x2 values, gn with 2 groups", heads, rows)
    return ExactResult(numbers, (table,), drawing=_drawing())


def _drawing() -> str:
    """The cubes of Wu and He's figure 2. # marks the values that share a mean with the front top right one.

    These are the values with a nonzero gradient from its output.
    """
    cubes = []
    for name, axes in SETS.items():
        x = randn(3, 4, 3, 1).requires_grad_()
        (sensitivity,) = grad(build_norm(name, (4, 3, 1))(x)[0, -1, 0, 0], x)
        cubes.append([f"{name}: {axes}" + ", G=2" * (name == "gn"), *_cube(sensitivity[..., 0] != 0)])
    lines = ["   ".join(f"{line:<16}" for line in row).rstrip() for row in zip(*cubes, strict=True)]
    return "\n".join([*lines, "", "Right: channels C. Down: positions H,W. Back: samples B."])


def _cube(marked: Tensor) -> list[str]:
    """Draw a box with the marks (B, C, P) on its front (channels by positions), top and right side."""
    marks = [[["#" if mark else "." for mark in row] for row in sample] for sample in marked.mT.tolist()]  # (B, P, C)
    depth, height, edge = len(marks), len(marks[0]), "+" + "--" * len(marks[0][0]) + "-+"
    top = [" " * (n + 1) + f"/ {' '.join(marks[n][0])} /" for n in reversed(range(depth))]
    front = [f"| {' '.join(row)} |" for row in marks[0]]
    # The columns of the right side. Each begins a row above the one to its left.
    side = [[*(row[-1] for row in sample), "/"] for sample in marks] + [["|"] * height + ["+"]]
    return [
        line + "".join(side[n][row + n] for n in range(depth + 1) if 0 <= row + n <= height)
        for row, line in enumerate([" " * (depth + 1) + edge, *top, edge, *front, edge], start=-depth - 1)
    ]


ENTRY = ExactClaim("axes", compute)
