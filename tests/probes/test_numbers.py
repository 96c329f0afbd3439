"""Every measurement of a snapshot against a direct computation on full tensors in float64."""

import copy
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from normexp.models.build import build_model
from normexp.models.layer import named_layers
from tests.conftest import compose
from tests.probes.watcher import ALL, Watcher, close, images

NETS = {
    "mlp": ["model=mlp"],
    "mlp sigmoid post": ["model=mlp", "activation=sigmoid", "norm.position=post"],
    "mlp tanh without a norm": ["model=mlp", "activation=tanh", "norm=none"],
    "cnn": [],
    "cnn gn gelu": ["norm=gn", "activation=gelu"],
    "resnet": ["model=resnet", "model.depth=8", "model.width=4"],
    "resnet preact ln leaky": [
        "model=resnet",
        "model.depth=8",
        "model.width=4",
        "model.block=preact",
        "norm=ln",
        "activation=leaky_relu",
    ],
    "vit": ["model=vit", "model.depth=2", "model.dim=16", "model.mlp=24", "norm=bn", "norm.qk=true", "model.pool=cls"],
}


class Direct:
    """A forward and backward pass that keeps every tensor."""

    def __init__(self, model, inputs, labels):
        self.inputs, self.outputs, handles = {}, {}, []
        for name, module in model.named_modules():
            handles.append(module.register_forward_hook(self._keep(name)))
        self.running = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
        self.loss = F.cross_entropy(model(inputs), labels)
        for handle in handles:
            handle.remove()
        model.zero_grad()
        self.loss.backward()

    def _keep(self, name):
        def hook(module, args, output):
            if output.requires_grad:
                output.retain_grad()
            self.inputs[name], self.outputs[name] = args[0], output

        return hook


@pytest.fixture(scope="module", params=NETS)
def snapshot(request):
    """Three steps of a network in float64, with all probes on: the third's measurements, and what they should be."""
    config = compose(*NETS[request.param], *ALL, "probe.every=1", "lr=0.5")
    torch.manual_seed(0)
    model = build_model(config).double()
    watcher = Watcher(model, config, lr=0.5)
    batches = [images(seed=seed, dtype=torch.float64) for seed in range(3)]
    findings, directs = [], []
    for batch in batches:
        directs.append((copy.deepcopy(model), Direct(model, *batch)))
        model.load_state_dict(directs[-1][0].state_dict())  # the pass has moved the running statistics
        before = copy.deepcopy(model)
        findings.append(watcher(*batch))
    return config, before, watcher.model, directs, findings


def test_distributions(snapshot):
    config, _, model, directs, findings = snapshot
    direct, found = directs[-1][1], findings[-1]
    expected = {}
    for name, layer in named_layers(model).items():
        parts = [part for part, _ in layer.named_children()]
        if "activation" in parts:
            expected[f"activation_in/{name}"] = direct.inputs[f"{name}.activation"]
            expected[f"activation_out/{name}"] = direct.outputs[f"{name}.activation"]
        if "norm" in parts and parts[parts.index("norm") + 1 :][:1] != ["activation"]:
            expected[f"norm_out/{name}"] = direct.outputs[f"{name}.norm"]
    sides = ("activation_in/", "activation_out/", "norm_out/")
    assert {tag for tag in found.histograms if tag.startswith(sides)} == set(expected)
    # In an original residual block the second norm comes before the addition; in a transformer, none is next to an activation.
    apart = config.model.name == "vit" or getattr(config.model, "block", None) == "original"
    assert ("norm_out/" in str(expected)) == (config.norm.position == "post" or apart)
    for tag, tensor in expected.items():
        values = tensor.detach().numpy().ravel()
        for name, want in {
            "mean": values.mean(),
            "std": values.std(),
            "skew": stats.skew(values),
            "kurtosis": stats.kurtosis(values),
            **{f"p{p}": np.percentile(values, p) for p in (1, 15, 50, 85, 99)},
        }.items():
            assert found.scalars[f"{tag}/{name}"] == close(want, rel=1e-4, abs=1e-6), f"{tag}/{name}"
        histogram = found.histograms[tag]
        counts, _ = np.histogram(values.astype(np.float32), bins=histogram.edges)
        assert histogram.counts == counts.tolist()
        assert sum(counts) == values.size


def test_saturation(snapshot):
    config, _, model, directs, findings = snapshot
    direct, found = directs[-1][1], findings[-1].scalars
    for name in (name for name, layer in named_layers(model).items() if hasattr(layer, "activation")):
        x, y = direct.inputs[f"{name}.activation"].detach(), direct.outputs[f"{name}.activation"].detach()
        at = x.clone().requires_grad_()
        activation = getattr(torch.nn.functional, config.activation, None) or getattr(torch, config.activation)
        activation(at).sum().backward()
        slope = at.grad
        saturated = {
            "relu": y == 0,
            "sigmoid": (y < 0.05) | (y > 0.95),
            "tanh": (y < -0.9) | (y > 0.9),
            "gelu": slope.abs() < 0.05,
            "leaky_relu": x < 0,
        }[config.activation]
        assert found[f"saturated/{name}"] == close(saturated.double().mean(), abs=1e-4)
        assert found[f"dead/{name}"] == close((y == 0).transpose(0, 1).flatten(1).all(1).double().mean())
        assert found[f"derivative/{name}"] == close(slope.mean(), rel=1e-4)


def test_gradients(snapshot):
    _, _, model, directs, findings = snapshot
    twin, direct = directs[-1]
    found = findings[-1].scalars
    trained = twin  # its gradients are those of the direct pass
    flows, weights = [], []
    for name, layer in named_layers(model).items():
        if layer.plan.observed:  # the weights of attention
            assert f"grad_flow/{name}" not in found
            continue
        flow = direct.outputs[name].grad.norm()
        assert found[f"grad_flow/{name}"] == close(flow)
        flows.append((len(flows), math.log(flow)))
        if hasattr(layer, "weight"):
            gradient = torch.autograd.grad(
                F.cross_entropy(trained(direct.inputs[""]), images(seed=2)[1]),
                dict(trained.named_parameters())[f"{name}.weight.weight"],
            )[0]
            assert found[f"grad_weight/{name}"] == close(gradient.norm())
            weights.append((len(flows), math.log(gradient.norm())))
    for kind, points in (("flow", flows), ("weight", weights)):
        assert found[f"grad_growth/{kind}"] == close(-np.polyfit(*zip(*points, strict=True), 1)[0])


def test_updates(snapshot):
    _, before, after, _, findings = snapshot
    olds, news = dict(before.named_parameters()), dict(after.named_parameters())
    for name, layer in named_layers(after).items():
        if hasattr(layer, "weight"):
            old, new = olds[f"{name}.weight.weight"], news[f"{name}.weight.weight"]
            assert findings[-1].scalars[f"weight_norm/{name}"] == close(old.norm())
            assert findings[-1].scalars[f"update_ratio/{name}"] == close((new - old).norm() / old.norm())


def test_affine(snapshot):
    config, before, _, _, findings = snapshot
    found = findings[-1]
    layers = [name for name, layer in named_layers(before).items() if hasattr(layer, "norm")]
    assert bool(layers) == (config.norm.name != "none")
    assert {t for t in found.histograms if t.startswith(("gamma", "beta"))} == {
        f"{symbol}/{name}" for name in layers for symbol in ("gamma", "beta")
    }
    for name in layers:
        norm = dict(before.named_modules())[f"{name}.norm"]
        for symbol, values in (("gamma", norm.weight), ("beta", norm.bias)):
            assert found.scalars[f"{symbol}/{name}/mean"] == close(values.mean())
            assert found.scalars[f"{symbol}/{name}/std"] == close(values.std(correction=0), rel=1e-4)


def test_batch_statistics(snapshot):
    config, _, _, directs, findings = snapshot
    _, direct = directs[-1]
    tags = {tag for tag in findings[-1].scalars if tag.startswith("batch_")}
    assert bool(tags) == (config.norm.name == "bn")
    for name in {tag.partition("/")[2] for tag in tags}:
        x = direct.inputs[f"{name}.norm"].transpose(0, 1).flatten(1)
        mean, var = direct.running[f"{name}.norm.running_mean"], direct.running[f"{name}.norm.running_var"] + 1e-5
        distance = ((x.mean(1) - mean).abs() / var.sqrt()).mean()
        ratio = ((x.var(1) + 1e-5) / var).log().mean().exp()
        assert findings[-1].scalars[f"batch_mean_distance/{name}"] == close(distance)
        assert findings[-1].scalars[f"batch_var_ratio/{name}"] == close(ratio)


def test_noise_scale(snapshot):
    _, _, _, directs, findings = snapshot
    assert not any(tag.startswith("noise_scale") for tag in findings[0].scalars)
    gradients = []
    for seed, (twin, _) in enumerate(directs[1:], start=1):
        loss = F.cross_entropy(twin(images(seed=seed, dtype=torch.float64)[0]), images(seed=seed)[1])
        names = {f"{name}.weight.weight" for name, layer in named_layers(twin).items() if hasattr(layer, "weight")}
        weights = {n: p for n, p in twin.named_parameters() if n in names}
        gradients.append(dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True)))
    sums = defaultdict(float)
    for name in gradients[0]:
        g, h = (of[name] for of in gradients)
        layer = name.removesuffix(".weight.weight")
        for key in (layer, "total"):
            sums[key, "noise"] += (g - h).square().sum().item() * 32 / 2
            sums[key, "signal"] += (g * h).sum().item()
    for layer in {layer for layer, _ in sums}:
        noise, signal = sums[layer, "noise"], sums[layer, "signal"]
        found = findings[-1].scalars[f"noise_scale/{layer}"]
        assert found == (close(noise / signal, rel=1e-4) if signal > 0 else None)


def test_jumps(snapshot):
    _, _, model, directs, findings = snapshot
    for name in (name for name, layer in named_layers(model).items() if hasattr(layer, "activation")):
        means, stds = [], []
        for _, d in directs:
            values = d.inputs[f"{name}.activation"].detach().transpose(0, 1).flatten(1)
            means.append(values.mean(1))
            stds.append(values.std(1, correction=0))
        jump = ((means[2] - means[1]).abs() / stds[1])[stds[1] > 0].mean()
        assert f"jump/{name}" not in findings[0].scalars
        assert findings[2].scalars[f"jump/{name}"] == close(float(jump), rel=1e-3, abs=1e-5)
        pooled = ((stds[0] ** 2 + stds[2] ** 2) / 2).sqrt()
        drift = ((means[2] - means[0]).abs() / pooled)[pooled > 0].mean()
        assert findings[0].scalars[f"unit_drift/{name}"] == 0
        assert findings[2].scalars[f"unit_drift/{name}"] == close(float(drift), rel=1e-3, abs=1e-5)


def test_linearity(snapshot):
    _, _, model, directs, findings = snapshot
    for name in (name for name, layer in named_layers(model).items() if hasattr(layer, "activation")):
        kept = directs[-1][1]
        sides = (kept.inputs[f"{name}.activation"], kept.outputs[f"{name}.activation"])
        inputs, outputs = (side.detach().transpose(0, 1).flatten(1).numpy() for side in sides)
        r2 = [
            1.0 if np.ptp(y) == 0 else stats.linregress(x, y).rvalue ** 2 for x, y in zip(inputs, outputs, strict=True)
        ]
        assert findings[-1].scalars[f"linearity/{name}"] == close(np.mean(r2), rel=1e-5)


def test_drift(snapshot):
    _, _, model, directs, findings = snapshot
    for name in (name for name, layer in named_layers(model).items() if hasattr(layer, "activation")):
        low, medians, high = zip(
            *(np.percentile(d.inputs[f"{name}.activation"].detach().numpy(), (25, 50, 75)) for _, d in directs),
            strict=True,
        )
        since = abs(medians[2] - medians[0]) / (high[0] - low[0])
        last = abs(medians[2] - medians[1]) / (high[1] - low[1])
        assert findings[0].scalars[f"drift/{name}"] == 0
        assert f"drift_last/{name}" not in findings[0].scalars
        assert findings[2].scalars[f"drift/{name}"] == close(since, rel=1e-3, abs=1e-5)
        assert findings[2].scalars[f"drift_last/{name}"] == close(last, rel=1e-3, abs=1e-5)
