"""gamma and beta can undo the normalisation (Ioffe and Szegedy 2015, section 3): with y = gamma x_hat + beta,

    gamma = sqrt(var_B + eps) and beta = mu_B    give    y = x.

The paper leaves eps out (gamma = sqrt(Var[x])), which gives x but for about eps / (2 var). With gamma = Var[x] it is not x.
"""

from __future__ import annotations

from normexp.claims.exact.base import Exact, Table, Worked, seeded

EPS = 1e-5


@seeded
def compute(seed: int) -> Worked:
    import torch

    from normexp.claims.exact.pieces import norm, randn, set_affine

    scale = torch.tensor([0.3, 0.7, 2.0, 5.0], dtype=torch.float64)
    x, other = (3 + scale[None, :, None, None] * randn(8, 4, 3, 3) for _ in range(2))
    layer = norm("bn", (4, 3, 3), eps=EPS)
    mu = x.mean((0, 2, 3))
    var = (x - mu[None, :, None, None]).square().mean((0, 2, 3))
    gammas = {"sqrt(var + eps)": (var + EPS).sqrt(), "sqrt(var)": var.sqrt(), "var": var}
    off = {}
    for name, gamma in gammas.items():
        set_affine(layer, gamma, mu)
        off[name] = (layer(x) - x).detach().abs().amax((0, 2, 3))
    set_affine(layer, gammas["sqrt(var + eps)"], mu)
    off["on the next batch"] = (layer(other) - other).detach().abs().amax((0, 2, 3))
    return Worked(
        numbers={
            "difference": float(off["sqrt(var + eps)"].max()),
            "difference_without_eps": float(off["sqrt(var)"].max()),
            "difference_variance": float(off["var"].max()),
        },
        tables=(
            Table(
                "Largest |y - x| in each channel, with beta = mu and different gamma",
                ("channel", "mu", "var", *(f"gamma = {name}" for name in gammas), "the first, on another batch"),
                tuple(
                    (c + 1, float(mu[c]), float(var[c]), *(float(each[c]) for each in off.values())) for c in range(4)
                ),
            ),
        ),
    )


ENTRY = Exact(name="identity", compute=compute)
