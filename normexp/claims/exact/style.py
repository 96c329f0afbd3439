"""Instance norm is invariant to the contrast and brightness of each image (Ulyanov, Vedaldi and Lempitsky 2016, section 2).

For a channel x of one image, a > 0 and any b, without eps,

    IN(a x + b) = (a x + b - (a mu + b)) / (a sigma) = IN(x),

which has mean 0 and standard deviation 1 over the pixels. Batch norm is one affine map for all images, so it keeps the ratio of
two images' standard deviations.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_norm, max_abs, randn

TINY_EPS, USUAL_EPS = 1e-12, 1e-5
"""With TINY_EPS the invariance is exact up to rounding."""
IMAGES, CHANNELS = 16, 4
FLAT = (1.0, 0.1, 0.01, 0.001)
"""Contrasts of the last table, times that of the images."""


def apply(name: str, x: Tensor, *, eps: float = TINY_EPS) -> Tensor:
    """The output of normexp's own norm, in training."""
    with torch.no_grad():
        y: Tensor = build_norm(name, tuple(x.shape[1:]), eps=eps)(x)
    return y


def contrast(x: Tensor) -> Tensor:
    """Standard deviation over the pixels of each channel of each image: (B, C)."""
    return x.std((2, 3), correction=0)


def compute() -> ExactResult:
    from sklearn.datasets import load_digits

    digits = torch.from_numpy(load_digits().images)
    chosen = digits[torch.randperm(len(digits))[:IMAGES], None] / 16
    x = conv2d(chosen, randn(CHANNELS, 1, 3, 3))
    shape = IMAGES, CHANNELS, 1, 1
    scale, shift = 4 ** (2 * torch.rand(shape, dtype=torch.float64) - 1), randn(*shape, std=2)
    styled = scale * x + shift
    styled_together = scale[:, :1] * x + shift[:, :1]
    outputs = {
        name: (apply(name, x), apply(name, styled), apply(name, styled_together)) for name in ("bn", "ln", "gn", "in")
    }
    before, after = contrast(styled), contrast(outputs["bn"][1])
    numbers = {
        "in_change": max_abs(outputs["in"][1] - outputs["in"][0]),
        "in_contrast_off": max_abs(contrast(outputs["in"][1]) - 1),
        "in_brightness": max_abs(outputs["in"][1].mean((2, 3))),
        "bn_change": float((outputs["bn"][1] - outputs["bn"][0]).abs().amax((1, 2, 3)).min()),
        "bn_contrast_ratio_off": max_abs((after / after[0]) / (before / before[0]) - 1),
    }
    rows = [
        (name, max_abs(styled - plain), max_abs(together - plain), *_range(contrast(styled)))
        for name, (plain, styled, together) in outputs.items()
    ]
    heads = ("norm", "each channel of each image", "each image as a whole", "least contrast after it", "most contrast")
    of_norms = Table("Largest change of the output, if contrast and brightness change for", heads, rows)
    flat = [(a, *(_range(contrast(apply("in", a * x, eps=eps)))[0] for eps in (TINY_EPS, USUAL_EPS))) for a in FLAT]
    title = "Least contrast after instance norm of images with their contrast times a"
    of_eps = Table(title, ("a", f"eps {TINY_EPS:g}", f"eps {USUAL_EPS:g}"), flat)
    return ExactResult(numbers, (of_norms, of_eps))


def _range(values: Tensor) -> tuple[float, float]:
    return float(values.min()), float(values.max())


ENTRY = ExactClaim("style", compute)
