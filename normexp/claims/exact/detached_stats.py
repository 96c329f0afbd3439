"""The gradient must pass through the batch statistics (Ioffe and Szegedy 2015, section 2, on u + b - E[u + b]).

A layer adds a bias b to its input u, the sum is normalized, x_hat = (u + b - mu) / sqrt(var + eps), and the loss is
l = mean (x_hat - t)^2. A step that treats mu and var as constants moves b by -lr dl/db with

    dl/db = mean 2 (x_hat - t) / sqrt(var + eps) = -2 t / sqrt(var + eps),

because mean x_hat is 0 for every b. After n steps b_n = lr n 2 t / sqrt(var + eps), while x_hat and the loss are unchanged.
With the gradient through mu and var, dl/db is 0 and b stays where it is.
"""

from collections.abc import Callable

from torch import Tensor
from torch.autograd import grad

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_norm, randn

EPS, STEPS, LR, TARGET = 1e-5, 200, 0.5, 1.0


def detached(x: Tensor) -> Tensor:
    """Batch norm whose backward pass treats the statistics as constants."""
    mu = x.mean(0).detach()
    var = (x - mu).square().mean(0).detach()
    return (x - mu) / (var + EPS).sqrt()


def compute() -> ExactResult:
    u = randn(32, 1, mean=1, std=2)
    biases, losses = _descend(u, detached)
    attached_biases, attached_losses = _descend(u, build_norm("bn", (1,), eps=EPS, affine=False))
    step = LR * 2 * TARGET / (float(u.var(correction=0)) + EPS) ** 0.5
    predicted = [n * step for n in range(STEPS + 1)]
    numbers = {
        "off_prediction": max(abs(b - p) for b, p in zip(biases, predicted, strict=True)) / predicted[-1],
        "bias_at_the_end": biases[-1],
        "loss_change": max(losses) - min(losses),
        "bias_through_statistics": max(map(abs, attached_biases)),
    }
    columns = list(zip(biases, predicted, losses, attached_biases, attached_losses, strict=True))
    rows = [(n, *columns[n]) for n in (0, 1, 2, 5, 10, 50, 100, STEPS)]
    heads = ("step", "b, constant", "lr n 2 t / sqrt(var + eps)", "loss, constant", "b, through", "loss, through")
    how = "with mu and var held constant or with the gradient through them"
    return ExactResult(numbers, (Table(f"Gradient descent on b, lr = {LR}, t = {TARGET}, {how}", heads, rows),))


def _descend(u: Tensor, normalize: Callable[[Tensor], Tensor]) -> tuple[list[float], list[float]]:
    """b and the loss before each step and after the last."""
    b, biases, losses = u.new_zeros(1).requires_grad_(), [], []
    for _ in range(STEPS + 1):
        loss = (normalize(u + b) - TARGET).square().mean()
        biases.append(float(b.detach()))
        losses.append(float(loss.detach()))
        b = (b.detach() - LR * grad(loss, b)[0]).requires_grad_()
    return biases, losses


ENTRY = ExactClaim("detached-stats", compute)
