"""Why the gradient must pass through the statistics (Ioffe and Szegedy 2015, section 2, on u + b - E[u + b]).

A layer adds a bias b to its input u and is normalised, x_hat = (u + b - mu) / sqrt(var + eps), and the loss is
l = mean (x_hat - t)^2. A step that takes mu and var for constants moves b by -lr dl/db with

    dl/db = mean 2 (x_hat - t) / sqrt(var + eps) = -2 t / sqrt(var + eps),

for mean x_hat is 0 whatever b is. So b_n = lr n 2 t / sqrt(var + eps) after n steps, while x_hat and the loss stay as they are.
With the gradient through mu and var, dl/db is 0 and b stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

EPS = 1e-5
STEPS = 200
LR = 0.5
TARGET = 1.0


def detached(x: Tensor) -> Tensor:
    """Batch norm with its statistics taken for constants by the backward pass."""
    mu = x.mean(0).detach()
    var = (x - mu).square().mean(0).detach()
    return (x - mu) / (var + EPS).sqrt()


@seeded
def compute(seed: int) -> Worked:
    from normexp.claims.exact.pieces import norm, randn

    u = randn(32, 1, mean=1, std=2)
    layer = norm("bn", (1,), eps=EPS, affine=False)
    biases, losses = _descend(u, detached)
    attached_biases, attached_losses = _descend(u, layer)
    step = LR * 2 * TARGET / (float(u.var(correction=0)) + EPS) ** 0.5
    predicted = [n * step for n in range(STEPS + 1)]
    shown = (0, 1, 2, 5, 10, 50, 100, STEPS)
    return Worked(
        numbers={
            "off_prediction": max(abs(b - p) for b, p in zip(biases, predicted, strict=True)) / predicted[-1],
            "bias_at_the_end": biases[-1],
            "loss_change": max(losses) - min(losses),
            "bias_through_statistics": max(map(abs, attached_biases)),
        },
        tables=(
            Table(
                f"Gradient descent on b, lr = {LR}, t = {TARGET}: mu and var held constant, and with the gradient through them",
                ("step", "b, held", "lr n 2 t / sqrt(var + eps)", "loss, held", "b, through", "loss, through"),
                tuple((n, biases[n], predicted[n], losses[n], attached_biases[n], attached_losses[n]) for n in shown),
            ),
        ),
    )


def _descend(u: Tensor, normalise: Callable[[Tensor], Tensor]) -> tuple[list[float], list[float]]:
    """b and the loss in front of each step and behind the last."""
    from normexp.claims.exact.pieces import gradient

    b = u.new_zeros(1).requires_grad_()
    biases, losses = [], []
    for _ in range(STEPS + 1):
        loss = (normalise(u + b) - TARGET).square().mean()
        biases.append(float(b.detach()))
        losses.append(float(loss.detach()))
        (grad,) = gradient(loss, b)
        b = (b.detach() - LR * grad).requires_grad_()
    return biases, losses


ENTRY = Exact(name="detached-stats", compute=compute)
