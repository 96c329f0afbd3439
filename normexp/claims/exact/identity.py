"""gamma and beta can undo the normalization (Ioffe and Szegedy 2015, section 3). With y = gamma x_hat + beta,

    gamma = sqrt(var_B + eps) and beta = mu_B    give    y = x.

The paper omits eps (gamma = sqrt(Var[x])), which gives x up to a relative error of about eps / (2 var).
gamma = Var[x] does not give x.
"""

import torch

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_norm, randn, set_affine

EPS = 1e-5


def compute() -> ExactResult:
    scale = torch.tensor([0.3, 0.7, 2.0, 5.0], dtype=torch.float64)
    x, next_x = (3 + scale[None, :, None, None] * randn(8, 4, 3, 3) for _ in range(2))
    norm = build_norm("bn", (4, 3, 3), eps=EPS)
    mu = x.mean((0, 2, 3))
    var = (x - mu[None, :, None, None]).square().mean((0, 2, 3))
    gammas = {"sqrt(var + eps)": (var + EPS).sqrt(), "sqrt(var)": var.sqrt(), "var": var}
    cases = {name: (gamma, x) for name, gamma in gammas.items()} | {"next batch": ((var + EPS).sqrt(), next_x)}
    off = {}
    for name, (gamma, inputs) in cases.items():
        set_affine(norm, gamma, mu)
        off[name] = (norm(inputs) - inputs).detach().abs().amax((0, 2, 3))
    numbers = {
        "difference": float(off["sqrt(var + eps)"].max()),
        "difference_without_eps": float(off["sqrt(var)"].max()),
        "difference_variance": float(off["var"].max()),
    }
    heads = ("channel", "mu", "var", *(f"gamma = {name}" for name in gammas), "first gamma, another batch")
    rows = [(c + 1, *torch.stack([mu, var, *off.values()])[:, c].tolist()) for c in range(4)]
    table = Table("Largest |y - x| in each channel, with beta = mu and different gamma", heads, rows)
    return ExactResult(numbers, (table,))


ENTRY = ExactClaim("identity", compute)
