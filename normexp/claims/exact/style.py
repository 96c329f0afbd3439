"""Instance norm is invariant to the contrast and brightness of each image (Ulyanov, Vedaldi and Lempitsky 2016, section 2).

For a channel x of one image, a > 0 and any b, without eps,

    IN(a x + b) = (a x + b - (a mu + b)) / (a sigma) = IN(x),

which has mean 0 and standard deviation 1 over the pixels. Batch norm is one affine map for all images, so it keeps the ratio of
two images' standard deviations. Two convolutions with a norm between them show the consequence: they learn to remove contrast and
brightness with instance norm, and hardly with batch norm.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, mse_loss

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_norm, max_abs, randn

TINY_EPS, USUAL_EPS = 1e-12, 1e-5
"""With TINY_EPS the invariance is exact up to rounding."""
IMAGES, CHANNELS = 16, 4
FLAT = (1.0, 0.1, 0.01, 0.001)
"""Contrasts in the table on eps, times that of the images."""
LRS, STEPS, BATCH, LAST = (0.003, 0.01, 0.03), 100, 32, 25
"""Training with Adam. Each norm has the learning rate with the least loss over the last steps."""
TRAIN, WIDTH = 1000, 8


def apply(name: str, x: Tensor, *, eps: float = TINY_EPS) -> Tensor:
    """The output of normexp's own norm, in training."""
    with torch.no_grad():
        y: Tensor = build_norm(name, tuple(x.shape[1:]), eps=eps)(x)
    return y


def contrast(x: Tensor) -> Tensor:
    """Standard deviation over the pixels of each channel of each image: (B, C)."""
    return x.std((2, 3), correction=0)


def styles(*shape: int) -> tuple[Tensor, Tensor]:
    """Random contrasts between 1/4 and 4, and brightnesses."""
    return 4 ** (2 * torch.rand(shape, dtype=torch.float64) - 1), randn(*shape, std=2)


def task(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, 1, H, W) in random styles, and the same images with mean 0 and standard deviation 1."""
    scale, shift = styles(len(images), 1, 1, 1)
    centered = images - images.mean((2, 3), keepdim=True)
    return scale * images + shift, centered / contrast(images)[..., None, None]


def train(name: str, lr: float, images: Tensor) -> tuple[nn.Module, float]:
    """Two convolutions with a norm between them, trained for the task, and their mean loss over the last steps."""
    first, last = (nn.Conv2d(*ends, 3, padding=1, padding_mode="reflect") for ends in ((1, WIDTH), (WIDTH, 1)))
    network = nn.Sequential(first, build_norm(name, (WIDTH, *images.shape[2:])), nn.ReLU(), last).double()
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=lr), list[float]()
    for _ in range(STEPS):
        inputs, targets = task(images[torch.randperm(len(images))[:BATCH]])
        optimizer.zero_grad()
        loss = mse_loss(network(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network, sum(losses[-LAST:]) / LAST


def regression(name: str, digits: Tensor) -> tuple[float, float]:
    """The best learning rate of a norm, and its loss on images that it was not trained on, as one batch."""
    state, trained = torch.get_rng_state(), []
    for lr in LRS:
        torch.set_rng_state(state)  # the same weights and images for all
        network, loss = train(name, lr, digits[:TRAIN])
        trained.append((loss, lr, network))
    _, lr, network = min(trained, key=lambda each: each[0])
    with torch.no_grad():
        inputs, targets = task(digits[TRAIN:])
        loss = mse_loss(network(inputs), targets).item()
    torch.set_rng_state(state)
    return lr, loss


def compute() -> ExactResult:
    from sklearn.datasets import load_digits

    digits = torch.from_numpy(load_digits().images)[:, None] / 16
    digits = digits[torch.randperm(len(digits))]
    x = conv2d(digits[:IMAGES], randn(CHANNELS, 1, 3, 3))
    scale, shift = styles(IMAGES, CHANNELS, 1, 1)
    styled = scale * x + shift
    styled_together = scale[:, :1] * x + shift[:, :1]
    outputs = {
        name: (apply(name, x), apply(name, styled), apply(name, styled_together)) for name in ("bn", "ln", "gn", "in")
    }
    before, after = contrast(styled), contrast(outputs["bn"][1])
    learned = {name: regression(name, digits) for name in ("bn", "in")}
    numbers = {
        "in_change": max_abs(outputs["in"][1] - outputs["in"][0]),
        "in_contrast_off": max_abs(contrast(outputs["in"][1]) - 1),
        "in_brightness": max_abs(outputs["in"][1].mean((2, 3))),
        "bn_change": float((outputs["bn"][1] - outputs["bn"][0]).abs().amax((1, 2, 3)).min()),
        "bn_contrast_ratio_off": max_abs((after / after[0]) / (before / before[0]) - 1),
        "loss_bn_over_in": learned["bn"][1] / learned["in"][1],
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
    title = (
        f"Loss of a network that learns to remove contrast and brightness, after {STEPS} steps (1: a constant output)"
    )
    of_learning = Table(title, ("norm", "learning rate", "loss"), [(name, *result) for name, result in learned.items()])
    return ExactResult(numbers, (of_norms, of_learning, of_eps))


def _range(values: Tensor) -> tuple[float, float]:
    return float(values.min()), float(values.max())


ENTRY = ExactClaim("style", compute)
