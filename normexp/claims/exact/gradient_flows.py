"""Batch norm is differentiable through its mean and variance (Ioffe and Szegedy 2015, section 3).

The six formulas below algorithm 1, with g = dl/dy of each of the m values of a channel:

    dl/dx_hat = g gamma
    dl/dvar   = sum dl/dx_hat (x - mu) * -1/2 (var + eps)^(-3/2)
    dl/dmu    = sum dl/dx_hat * -1/sqrt(var + eps) + dl/dvar * sum -2 (x - mu) / m
    dl/dx     = dl/dx_hat / sqrt(var + eps) + dl/dvar 2 (x - mu) / m + dl/dmu / m
    dl/dgamma = sum g x_hat
    dl/dbeta  = sum g
"""

from torch import Tensor
from torch.autograd import grad, gradcheck

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_norm, max_abs, randn, set_affine

EPS = 1e-5
GRADIENTS = ("dl/dx_hat", "dl/dvar", "dl/dmu", "dl/dx", "dl/dgamma", "dl/dbeta")


def backward(g: Tensor, x: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
    """The paper's six formulas for g and x of shape (m, C), in the order of GRADIENTS."""
    m, mu = len(x), x.mean(0)
    var = (x - mu).square().mean(0)
    root = (var + EPS).sqrt()
    x_hat_grad = g * gamma
    var_grad = (x_hat_grad * (x - mu)).sum(0) * -0.5 * (var + EPS) ** -1.5
    mu_grad = (x_hat_grad * -1 / root).sum(0) + var_grad * (-2 * (x - mu)).sum(0) / m
    x_grad = x_hat_grad / root + var_grad * 2 * (x - mu) / m + mu_grad / m
    return x_hat_grad, var_grad, mu_grad, x_grad, (g * (x - mu) / root).sum(0), g.sum(0)


def compute() -> ExactResult:
    channels = 3
    x = randn(8, channels, mean=2, std=1.5).requires_grad_()
    gamma, beta, target = randn(channels), randn(channels), randn(8, channels)
    norm = build_norm("bn", (channels,), eps=EPS)
    set_affine(norm, gamma, beta)
    gamma_leaf, beta_leaf = gamma.clone().requires_grad_(), beta.clone().requires_grad_()

    # The forward pass with every intermediate value as a node of the graph.
    mu = x.mean(0)
    var = (x - mu).square().mean(0)
    x_hat = (x - mu) / (var + EPS).sqrt()
    y = gamma_leaf * x_hat + beta_leaf
    g, *by_autograd = grad(_loss(y, target), (y, x_hat, var, mu, x, gamma_leaf, beta_leaf))
    by_formula = backward(g, x.detach(), gamma)
    off = [max_abs(a - b) for a, b in zip(by_formula, by_autograd, strict=True)]

    by_layer = grad(_loss(norm(x), target), (x, *norm.parameters()))
    off_layer = max(max_abs(a - b) for a, b in zip(by_formula[3:], by_layer, strict=True))
    y_detached = gamma_leaf * (x - mu.detach()) / (var.detach() + EPS).sqrt() + beta_leaf
    (detached,) = grad(_loss(y_detached, target), x)

    numbers = {
        "gradcheck": float(gradcheck(norm, (x,), raise_exception=False)),
        **{f"off_{name.removeprefix('dl/d')}": value for name, value in zip(GRADIENTS, off, strict=True)},
        "off_layer": off_layer,
        "share_of_statistics": _norm(by_layer[0] - detached) / _norm(detached),
    }
    rows = [(name, _norm(a), b) for name, a, b in zip(GRADIENTS, by_formula, off, strict=True)]
    title = "The paper's six formulas against automatic differentiation (8 samples, 3 channels)"
    of_formulas = Table(title, ("gradient", "norm", "largest difference"), rows)
    paths = {"through mu and var": by_layer[0], "mu and var held constant": detached}
    of_statistics = Table(
        "dl/dx with and without the path through the statistics",
        ("", "norm", "largest |sum over the batch|", "largest |sum of dl/dx x_hat|"),
        [(name, _norm(dx), max_abs(dx.sum(0)), max_abs((dx * x_hat).sum(0))) for name, dx in paths.items()],
    )
    return ExactResult(numbers, (of_formulas, of_statistics))


def _loss(y: Tensor, target: Tensor) -> Tensor:
    return (y - target).square().sum() / 2


def _norm(values: Tensor) -> float:
    return float(values.detach().norm())


ENTRY = ExactClaim("gradient-flows", compute)
