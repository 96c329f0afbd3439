"""The vision transformer against one written in plain torch on (B, T, D), with its own attention and norms."""

from itertools import product

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.config import ConfigError
from normexp.models import layers
from normexp.models.build import build_model
from normexp.models.describe import describe, warnings
from normexp.models.layer import named_layers
from tests.conftest import compose
from tests.probes.watcher import Watcher

SMALL = ["model=vit", "model.depth=2", "model.dim=12", "model.heads=3", "model.mlp=20", "init=xavier"]

AXES = {  # of (B, T, D) that share a mean and a variance: DESIGN's table
    "bn": (0, 1),
    "ln": (1, 2),
    "ln norm.axes=channel": (2,),
    "in": (1,),
    "gn norm.groups=2": (1, 3),  # of (B, T, groups, D / groups)
    "rms norm.axes=channel": (2,),
    "none": None,
}


def normalize(kind: str, x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """gamma (x - mean) / sqrt(variance + eps) + beta over the axes of `kind`, for x (B, T, D)."""
    if kind == "none":
        return x
    y = x.unflatten(2, (2, -1)) if kind.startswith("gn") else x
    mean = 0 if kind.startswith("rms") else y.mean(AXES[kind], keepdim=True)
    var = (y - mean).square().mean(AXES[kind], keepdim=True)
    y = ((y - mean) / (var + 1e-5).sqrt()).reshape(x.shape) * weights[f"{name}.norm.weight"]
    bias = weights.get(f"{name}.norm.bias")
    return y if bias is None else y + bias


def reference(weights: dict[str, Tensor], images: Tensor, kind: str, *, block: str, pool: str, qk: bool) -> Tensor:
    """The logits of SMALL on 8x8 images of one channel, in patches of 2x2."""

    def linear(name: str, x: Tensor) -> Tensor:
        bias = weights.get(f"{name}.weight.bias")
        y = x @ weights[f"{name}.weight.weight"].T
        return y if bias is None else y + bias

    def norm(name: str, x: Tensor) -> Tensor:
        return normalize(kind, x, weights, name)

    def attention(name: str, x: Tensor) -> Tensor:
        q, k, v = (linear(f"{name}.{each}", x) for each in "qkv")
        heads = []
        if qk:  # all heads in one batch, as batch norm sees them
            tokens = [each.reshape(-1, x.shape[1], 3, 4).transpose(1, 2).reshape(-1, x.shape[1], 4) for each in (q, k)]
            tokens = [norm(f"{name}.{each}_norm", t) for each, t in zip("qk", tokens, strict=True)]
            q, k = (t.reshape(-1, 3, x.shape[1], 4).transpose(1, 2).reshape(x.shape) for t in tokens)
        for h in range(3):
            one, two, three = (each[:, :, 4 * h : 4 * h + 4] for each in (q, k, v))
            heads.append((one @ two.transpose(1, 2) / 4**0.5).softmax(-1) @ three)
        return linear(f"{name}.out", torch.cat(heads, dim=2))

    def mlp(name: str, x: Tensor) -> Tensor:
        x = linear(f"{name}.fc1", x)
        return linear(f"{name}.fc2", F.gelu(norm(f"{name}.fc1", x) if block == "none" else x))

    x = torch.stack([images[:, 0, i : i + 2, j : j + 2].flatten(1) for i in range(0, 8, 2) for j in range(0, 8, 2)], 1)
    x = linear("patch", x)
    if pool == "cls":
        x = torch.cat([weights["patch.position.class_token"].expand(len(x), 1, -1), x], 1)
    x = x + weights["patch.position.positions"]
    for name, branch in product(("block1", "block2"), (attention, mlp)):
        at = f"{name}.{'attn' if branch is attention else 'mlp'}"
        y = branch(at, norm(f"{at}.norm", x) if block in ("pre", "sandwich") else x)
        x = x + (norm(f"{at}.norm_out", y) if block == "sandwich" else y)
        x = norm(f"{at}.norm_sum", x) if block == "post" else x
    x = norm("final", x) if block in ("pre", "sandwich") else x
    return linear("head", x.mean(1) if pool == "mean" else x[:, 0])


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize(("block", "pool"), [("pre", "mean"), ("post", "cls"), ("sandwich", "cls"), ("none", "mean")])
@pytest.mark.parametrize("qk", [False, True])
def test_outputs_and_gradients_are_those_of_plain_torch(kind, block, pool, qk):
    choices = [f"norm={each}" if "=" not in each else each for each in kind.split()] + ["norm.eps=1e-5"]
    config = compose(*SMALL, *choices, f"model.block={block}", f"model.pool={pool}", f"norm.qk={qk}", "activation=gelu")
    model = build_model(config).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # gammas other than 1, biases and positions other than 0
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    images = torch.randn(5, 1, 8, 8, dtype=torch.float64, generator=generator)
    ours, theirs = model(images), reference(weights, images, kind, block=block, pool=pool, qk=qk and kind != "none")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    labels = torch.arange(5)
    F.cross_entropy(ours, labels).backward()
    F.cross_entropy(theirs, labels).backward()
    for name, p in model.named_parameters():
        want = weights[name].grad
        torch.testing.assert_close(p.grad, torch.zeros_like(p) if want is None else want, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("pool", "norm", "data"), [*product(("mean", "cls"), ("none", "ln"), ("digits", "mnist", "cifar10"))]
)
def test_number_of_parameters(pool, norm, data):
    """By formula: D = 64, 4 blocks with MLPs of 128 units, and patches of a quarter of the image's side."""
    values = {"digits": 4, "mnist": 49, "cifar10": 3 * 64}[data]
    tokens = 16 + (pool == "cls")
    patch = values * 64 + 64 + tokens * 64 + 64 * (pool == "cls")
    block = 4 * (64 * 64 + 64) + 64 * 128 + 128 + 128 * 64 + 64
    norms = (2 * 4 + 1) * 2 * 64 * (norm == "ln")
    config = compose("model=vit", f"model.pool={pool}", f"norm={norm}", f"data={data}")
    want = patch + 4 * block + norms + 64 * 10 + 10
    assert sum(row.parameters + row.norm_parameters for row in describe(config)) == want
    assert sum(p.numel() for p in build_model(config).parameters()) == want


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bn", "B,T: 64*16 = 1,024 values, 64 statistics"),
        ("ln", "T,D: 16*64 = 1,024 values, 64 statistics"),
        ("ln norm.axes=channel", "D: 64 values, 1,024 statistics"),
        ("in", "T: 16 values, 4,096 statistics"),
        ("gn", "T,D/G: 16*16 = 256 values, 256 statistics"),
        ("dyt", "none"),
    ],
)
def test_the_table_names_axes_of_tokens(kind, words):
    rows = {row.name: row for row in describe(compose("model=vit", *f"norm={kind}".split(), "norm.qk=true"))}
    assert rows["block2.mlp.norm"].statistics == words
    if kind == "bn":
        assert rows["block2.attn.q_norm"].statistics == "B,T: 256*16 = 4,096 values, 16 statistics"


def last_gradient(block: str, depth: int) -> float:
    """Root mean square norm of the gradient of single samples in the last MLP's second matrix at initialization."""
    squares = []
    for seed in range(6):
        size = ["model.dim=32", "model.mlp=32", "model.heads=1", "model.pool=cls", f"model.depth={depth}"]
        chosen = [f"model.block={block}", "norm=ln", "norm.axes=channel", "init=xavier", f"seed={seed}"]
        model = build_model(compose("model=vit", *size, *chosen))
        weight = named_layers(model)[f"block{depth}.mlp.fc2"].weight.weight
        images = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        for loss in F.cross_entropy(model(images), torch.arange(10), reduction="none"):
            (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
            squares.append(gradient.square().sum().item())
    return (sum(squares) / len(squares)) ** 0.5


def test_the_last_gradient_falls_with_depth_in_pre_ln_alone():
    """Xiong et al. 2020, theorem 1: the gradient of the last layer's second matrix does not depend on the depth L in post-LN, and
    falls like 1 / sqrt(L) in pre-LN, where the residual stream grows."""
    post, pre = ([last_gradient(block, depth) for depth in (8, 32)] for block in ("post", "pre"))
    assert post[1] / post[0] == pytest.approx(1, abs=0.15)
    assert pre[1] / pre[0] == pytest.approx(0.5, abs=0.08)


def test_positions_are_drawn_and_not_decayed():
    config = compose("model=vit", "model.pool=cls", "optim=adamw", "optim.decay_norm=false", "init=kaiming")
    model = build_model(config)
    position = named_layers(model)["patch"].position
    assert position.positions.std().item() == pytest.approx(0.02, rel=0.1)
    from normexp.optim.groups import parameter_groups

    decayed, kept = (group["params"] for group in parameter_groups(model, config.optim))
    assert sum(p.numel() for p in decayed) == sum(plan.weights for plan in layers(config))
    assert {id(p) for p in position.parameters()} <= {id(p) for p in kept}


def test_batch_norms_fold_into_the_linear_layers_of_tokens():
    from normexp.norms.fold import fold

    model = build_model(compose(*SMALL, "model.block=sandwich", "norm=bn"))
    images = torch.randn(32, 1, 8, 8)
    model(images)
    model.eval()
    folded = fold(model)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-4, atol=1e-5)
    count = [sum(isinstance(m, nn.BatchNorm1d) for m in net.modules()) for net in (model, folded)]
    assert count == [9, 5]  # those after `out` and `fc2`


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["model=vit", "model.patch=3"],
            "the images are 8x8 pixels, which patches of 3x3 don't divide; use model.patch=1, 2, 4, 8",
        ),
        (["model=vit", "model.heads=5"], "the heads must divide model.dim=64; use 1, 2, 4"),
        (["model=vit", "norm.position=post"], "model=vit has its norms where model.block says"),
        (["model=vit", "model.patch=8", "norm=in"], "layer block1.attn.norm"),
        (["model=vit", "norm.qk=true", "norm=bn", "norm.ghost_batch=16"], "layer block1.attn.q_norm"),
        (["model=cnn", "norm.qk=true"], "norm.qk=true needs queries and keys: use model=vit"),
        (
            ["model=vit", "norm.zero_last=true"],
            "norm.zero_last=true needs residual branches with a norm: use model=resnet, or model=vit with model.block=sandwich",
        ),
        (["model=vit", "norm=gn", "norm.groups=32", "norm.qk=true"], "layer block1.attn.q_norm"),
    ],
)
def test_what_can_not_work_is_refused(overrides, sentence):
    with pytest.raises(ConfigError) as caught:
        compose(*overrides)
    assert sentence in str(caught.value)


def test_instance_norm_before_an_average_over_tokens_is_warned_about():
    (message,) = (m for m in warnings(compose("model=vit", "norm=in"), {}) if "apart" in m)
    assert message.endswith("Use model.pool=cls.")
    assert not any("apart" in m for m in warnings(compose("model=vit", "norm=in", "model.pool=cls"), {}))


@pytest.mark.parametrize("shape", [(5, 16, 20), (5, 1, 20), (5, 16, 1), (1, 16, 20), (2, 1, 1)])  # B, T, D
@pytest.mark.parametrize("contiguous", [False, True])
def test_batch_norm_of_tokens_is_torchs_in_every_memory_format(shape, contiguous):
    """Of (B, D, T): torch's kernel for images has wrong gradients for some strides of a side of 1 pixel."""
    from normexp.norms.bn_module import TokenBatchNorm

    tokens, gradient = (torch.randn(shape, dtype=torch.float64).mT for _ in range(2))
    x = (tokens.contiguous() if contiguous else tokens).requires_grad_()
    for g in (gradient, gradient.contiguous(), gradient[:, :, :1].expand(x.shape)):
        ours = TokenBatchNorm(shape[2], eps=1e-5, momentum=0.1, affine=True).double()
        y = ours(x)
        mean, var = x.mean((0, 2), keepdim=True), x.var((0, 2), correction=0, keepdim=True)
        want = (x - mean) / (var + 1e-5).sqrt()
        torch.testing.assert_close(y, want, rtol=0, atol=1e-9)
        results = [torch.autograd.grad(each, x, g)[0] for each in (y, want)]
        torch.testing.assert_close(*results, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(ours.running_mean, 0.1 * mean.detach().flatten(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("qk", [False, True])
def test_attention_entropy(qk):
    """SciPy's entropy of weights that are computed from the queries and keys."""
    config = compose(*SMALL, "norm=ln", f"norm.qk={qk}", "probe.every=1")
    model = build_model(config).double()
    inputs, labels = torch.randn(5, 1, 8, 8, dtype=torch.float64), torch.arange(5)
    kept: dict[str, Tensor] = {}
    source = "_norm" * qk
    for each in "qk":
        layer = named_layers(model)[f"block2.attn.{each}{source}"]
        layer.register_forward_hook(lambda _, __, y, each=each: kept.update({each: y.detach()}))
    found = Watcher(model, config)(inputs, labels).scalars
    heads = {each: y if qk else y.unflatten(1, (3, 4)).flatten(0, 1) for each, y in kept.items()}  # (15, 4, 16)
    scores = torch.einsum("bdi,bdj->bij", heads["q"], heads["k"]) / 2
    entropy = stats.entropy(scores.exp().numpy(), axis=-1, base=16)
    assert found["attention_entropy/block2.attn.weights"] == pytest.approx(entropy.mean(), rel=1e-9)
    assert 0 < entropy.mean() < 1
    assert {tag for tag in found if tag.startswith("attention")} == {
        f"attention_entropy/block{i}.attn.weights" for i in (1, 2)
    }
