"""Each number that a look brings, against a direct computation on whole tensors in float64."""

import copy
import math
import re
from collections import defaultdict

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from normexp.models.layer import build_model, named_layers
from normexp.probes import PROBES
from normexp.probes.look import Probes, Step
from tests.conftest import compose
from tests.probes.looking import ALL, Watcher, images

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
}


class Direct:
    """A network's pass with every tensor kept whole."""

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


def close(value, **tolerance):
    return pytest.approx(torch.as_tensor(value).item(), **({"rel": 1e-5, "abs": 1e-9} | tolerance))


@pytest.fixture(scope="module", params=NETS)
def look(request):
    """Three steps of a network in float64, with all probes on: findings of the third, and what they should be."""
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


def test_distributions(look):
    config, _, model, directs, findings = look
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
    assert ("norm_out/" in str(expected)) == (config.norm.position == "post" or config.model.name == "resnet")
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


def test_saturation(look):
    config, _, model, directs, findings = look
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


def test_gradients(look):
    _, _, model, directs, findings = look
    twin, direct = directs[-1]
    found = findings[-1].scalars
    trained = twin  # its gradients are those of the direct pass
    flows, weights = [], []
    for name, layer in named_layers(model).items():
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


def test_updates(look):
    _, before, after, _, findings = look
    olds, news = dict(before.named_parameters()), dict(after.named_parameters())
    for name, layer in named_layers(after).items():
        if hasattr(layer, "weight"):
            old, new = olds[f"{name}.weight.weight"], news[f"{name}.weight.weight"]
            assert findings[-1].scalars[f"weight_norm/{name}"] == close(old.norm())
            assert findings[-1].scalars[f"update_ratio/{name}"] == close((new - old).norm() / old.norm())


def test_affine(look):
    config, before, _, _, findings = look
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


def test_batch_statistics(look):
    config, _, _, directs, findings = look
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


def test_noise_scale(look):
    _, _, _, directs, findings = look
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


def test_drift(look):
    _, _, model, directs, findings = look
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


def test_hooks_are_gone_after_a_look_and_after_an_error():
    config = compose(*ALL, "probe.every=1")
    watcher = Watcher(build_model(config), config)

    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in watcher.model.modules())

    inputs, labels = images()
    step = Step(1, 10, watcher.model, inputs, labels, 0.1)
    with watcher.probes.look(step):
        assert hooks() > 0
    assert hooks() == 0
    watcher(inputs, labels)
    assert hooks() == 0
    with pytest.raises(RuntimeError, match="size"), watcher.probes.look(step):
        watcher.model(torch.randn(2, 5, 8, 8))
    assert hooks() == 0


def test_between_looks_nothing_is_hooked_or_kept():
    config = compose("probe=full", "probe.landscape=true", "probe.every=5", "probe.landscape_every=5")
    watcher = Watcher(build_model(config), config)
    probes = {type(probe).__name__: probe for probe in watcher.probes._probes}
    assert len(probes) == len(PROBES)
    for step in range(1, 13):
        found = watcher(*images(seed=step))
        assert bool(found and found.scalars) == (step in (1, 5, 10))
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in watcher.model.modules())
        assert bool(probes["Noise"]._last) == (step in (4, 9))
        assert not probes["Updates"]._before
        assert probes["Landscape"]._here is None


def test_every_chart_shows_numbers_that_a_look_brings():
    config = compose(*ALL, "norm.position=post", "probe.every=1", "probe.landscape_every=1")
    watcher = Watcher(build_model(config), config)
    tags = {tag for seed in range(2) for tag in watcher(*images(seed=seed)).scalars}
    charts = watcher.probes.charts()
    assert len({(chart.page, chart.title) for chart in charts}) == len(charts) > 20
    for chart in charts:
        assert set(chart.band or ()) <= tags
        assert chart.band or all(any(re.match(line, tag) for tag in tags) for line in chart.lines), chart.title


def test_off_is_off():
    config = compose("probe='off'")
    assert not any(getattr(config.probe, name) for name in PROBES)


@pytest.mark.parametrize("probe", PROBES)
def test_each_probe_has_its_switch_and_works_alone(probe):
    config = compose("probe='off'", f"probe.{probe}=true", "probe.every=1")
    watcher = Watcher(build_model(config), config)
    alone = [watcher(*images(seed=n)) for n in range(2)]
    together = compose(*ALL, "probe.every=1", "probe.samples=4096", "probe.landscape_every=1")
    watcher = Watcher(build_model(together), together)
    everything = [watcher(*images(seed=n)) for n in range(2)]
    assert any(found and found.scalars for found in alone)
    for found, whole in zip(alone, everything, strict=True):
        if found:
            assert found.scalars.items() <= whole.scalars.items()
            assert set(found.histograms) <= set(whole.histograms)
    groups = {tag.partition("/")[0] for found in alone if found for tag in found.scalars}
    for other in PROBES:
        assert (other == probe) or not (groups & GROUPS[other])
    assert groups <= GROUPS[probe]


GROUPS = {
    "activations": {"activation_in", "activation_out", "norm_out"},
    "saturation": {"saturated", "dead", "derivative"},
    "drift": {"drift", "drift_last"},
    "gradients": {"grad_flow", "grad_weight", "grad_growth"},
    "updates": {"weight_norm", "update_ratio"},
    "noise": {"noise_scale"},
    "affine": {"gamma", "beta"},
    "batch_statistics": {"batch_mean_distance", "batch_var_ratio"},
    "landscape": {"landscape", "shift_cosine", "shift_distance"},
}


def test_layers_are_chosen_by_patterns_and_network_wide_numbers_are_of_all_layers():
    net = ["model=resnet", "model.depth=8", "model.width=4", "probe=landscape", "probe.noise=true", "probe.every=1"]
    chosen, every = (
        Watcher(build_model(config), config)
        for config in (compose(*net, "probe.layers=[block2.*,head]"), compose(*net))
    )
    for seed in range(2):
        some, whole = chosen(*images(seed=seed)).scalars, every(*images(seed=seed)).scalars
        assert some.items() <= whole.items()
    assert {"grad_growth/flow", "grad_growth/weight", "noise_scale/total"} <= set(some)
    layers = {tag.split("/")[1] for tag in some if not tag.startswith(("grad_growth", "landscape"))} - {"total"}
    assert layers == {"block2.conv1", "block2.conv2", "block2.shortcut", "block2.out", "head"}


class Own(nn.Module):
    """Somebody's own network: a layer that is used twice, one that is frozen, one that is never used."""

    def __init__(self, config):
        super().__init__()
        built = named_layers(build_model(config))
        self.twice, self.frozen, self.unused, self.head = (built[n] for n in ("fc2", "fc3", "fc4", "head"))
        self.first = built["fc1"]
        self.frozen.requires_grad_(False)
        self.twice.activation = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.head(self.frozen(self.twice(self.twice(self.first(x.flatten(1))))))


@pytest.mark.parametrize("norm", ["none", "bn"])
def test_layers_that_are_reused_frozen_or_unused_break_no_probe(norm):
    config = compose("model=mlp", "model.depth=4", f"norm={norm}", *ALL, "probe.every=1")
    watcher = Watcher(Own(config), config)
    inputs, labels = images()
    seen = []
    handle = watcher.model.twice.activation.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    frozen = copy.deepcopy(watcher.model.frozen.state_dict())
    found = watcher(inputs, labels)
    handle.remove()
    both = torch.cat(seen[:2]).detach()  # later ones are of the landscape's own passes
    assert sum(found.histograms["activation_in/twice"].counts) == both.numel()
    assert found.scalars["activation_in/twice/mean"] == close(both.double().mean(), abs=1e-6)
    assert found.scalars["activation_in/twice/p1"] < 0  # before the activation worked in place
    assert found.scalars["update_ratio/frozen"] == 0
    assert "grad_weight/frozen" not in found.scalars
    assert found.scalars["grad_flow/frozen"] > 0
    assert not any(tag.endswith("/unused") for tag in found.histograms if tag.startswith("activation"))
    weights = [key for key in frozen if "running" not in key and "num_batches" not in key]
    assert all(torch.equal(frozen[key], watcher.model.frozen.state_dict()[key]) for key in weights)
    assert watcher(inputs, labels).scalars["noise_scale/total"] is not None


class Backwards(nn.Module):
    """A network that names its last layer first."""

    def __init__(self, built):
        super().__init__()
        for name in reversed(built):
            self.add_module(name, built[name])

    def forward(self, x):
        return self.head(self.fc3(self.fc2(self.fc1(x.flatten(1)))))


def test_layers_count_in_the_order_in_which_they_are_used():
    config = compose("model=mlp", "norm=none", "activation=sigmoid", "probe=landscape", "probe.every=1")
    watcher = Watcher(build_model(config), config)
    backwards = Watcher(Backwards(named_layers(build_model(config))), config)
    inputs, labels = images()
    found, turned = watcher(inputs, labels).scalars, backwards(inputs, labels).scalars
    for tag in ("grad_growth/flow", "grad_growth/weight", "shift_cosine/head", "shift_distance/fc2"):
        assert turned[tag] == close(found[tag]), tag
    assert turned["grad_growth/flow"] < 0  # sigmoids make it vanish
    assert "shift_cosine/fc1" not in turned


def test_where_nothing_can_be_divided_by_there_is_no_number():
    config = compose("init=normal", "init.std=1e-300", "norm=none", "model=mlp", "probe=landscape", "probe.every=1")
    watcher = Watcher(build_model(config), config)
    with torch.no_grad():
        for parameter in watcher.model.parameters():
            parameter.zero_()
    found = watcher(*images()).scalars
    assert found["weight_norm/fc2"] == 0
    assert found["update_ratio/fc2"] is found["shift_cosine/fc2"] is found["drift/fc2"] is None


def test_half_precision():
    config = compose("probe='off'", "probe.affine=true", "probe.batch_statistics=true", "probe.every=1")
    watcher = Watcher(build_model(config).bfloat16(), config)
    found = watcher(images()[0].bfloat16(), images()[1])
    assert found.scalars["gamma/conv1/mean"] == 1
    assert found.scalars["batch_var_ratio/conv1"] > 0


def test_an_activation_with_a_parameter_a_channel_and_one_that_draws_numbers():
    config = compose("model=mlp", "model.width=500", "norm=none", "probe.samples=1024", "probe.every=1")
    model = build_model(config)
    model.fc1.activation, model.fc2.activation = nn.PReLU(500), nn.RReLU()
    torch.manual_seed(5)
    with torch.no_grad():
        copy.deepcopy(model).train()(images()[0])
    state = torch.get_rng_state()
    torch.manual_seed(5)
    found = Watcher(model, config)(*images()).scalars
    assert torch.equal(state, torch.get_rng_state())
    assert "derivative/fc1" not in found  # the sample lacks channels
    assert 0.5 < found["derivative/fc2"] < 1
    assert found["derivative/fc3"] > 0


def test_a_diverged_network_has_its_values_counted():
    config = compose("model=mlp", *ALL, "probe.every=1", "norm=none")
    watcher = Watcher(build_model(config), config)
    with torch.no_grad():
        watcher.model.fc2.weight.weight[:3] = math.inf
    found = watcher(*images())
    assert found.scalars["activation_in/fc2/nonfinite"] == 32 * 3
    assert sum(found.histograms["activation_in/fc2"].counts) == 32 * 97
    assert found.scalars["activation_in/fc2/mean"] is not None
    assert found.scalars["activation_in/fc3/nonfinite"] == 32 * 100
    assert sum(found.histograms["activation_in/fc3"].counts) == 0
    assert found.scalars["activation_in/fc3/mean"] is None
    assert "activation_in/fc1/nonfinite" not in found.scalars
    assert found.scalars["saturated/fc2"] > 0.3  # of those that are finite
    assert found.scalars["saturated/fc3"] is found.scalars["dead/fc3"] is found.scalars["derivative/fc3"] is None


def test_dead_units_are_those_that_are_never_on():
    config = compose("norm=none", "probe.every=1")
    watcher = Watcher(build_model(config), config)
    with torch.no_grad():
        watcher.model.conv2.weight.bias[:8] = -1e3
    found = watcher(*images()).scalars
    assert (found["dead/conv1"], found["dead/conv2"]) == (0, 8 / 32)


def test_probes_of_nothing():
    config = compose("probe='off'")
    assert Probes(named_layers(build_model(config)), config.probe).look(Step(1, 1, None, None, None, 0.1)) is None
