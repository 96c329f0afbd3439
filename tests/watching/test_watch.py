"""`normexp.watch`: its numbers, and that training does not change by a bit."""

import copy
import json
import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from normexp.probes import PROBES
from normexp.rundir import read_metrics, read_status
from normexp.watching import watch
from tests.watching.networks import resnet, train, transformer

ALL = [name for name in PROBES if name != "landscape"]

ACTIVATIONS = {resnet: "layer1.0.relu", transformer: "mlp.act"}


def entries(probes):
    """Scalars by step."""
    by_step = {}
    for line in read_metrics(probes.directory):
        by_step.setdefault(line["step"], {}).update(line)
    return by_step


def hooks(model):
    """Everything that a hook could be attached to, and the modules' attributes."""
    of_modules = [
        (name, {k: str(v) for k, v in vars(m).items() if k != "_parameters"}) for name, m in model.named_modules()
    ]
    of_parameters = [(p._backward_hooks, getattr(p, "_post_accumulate_grad_hooks", None)) for p in model.parameters()]
    return of_modules, of_parameters


@pytest.mark.parametrize("build", [resnet, transformer])
def test_training_is_the_same_bit_for_bit(build, tmp_path):
    plain, loss_of = build()
    watched = copy.deepcopy(plain)
    torch.manual_seed(1)
    losses = train(plain, loss_of, 6)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    torch.manual_seed(1)
    with watch(watched, every=2, directory=tmp_path / "run", probes=ALL, batch_size=8) as probes:
        assert train(watched, loss_of, 6, probes) == losses
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    assert all(map(torch.equal, plain.state_dict().values(), watched.state_dict().values()))
    assert hooks(watched) == hooks(plain)
    assert not sys.modules["torch.optim.optimizer"]._global_optimizer_pre_hooks
    assert read_status(tmp_path / "run")["state"] == "completed"
    assert {"noise_scale/total", "jump/" + ACTIVATIONS[build], "grad_growth/flow"} < entries(probes)[4].keys()


def test_numbers_of_tokens_are_per_feature(tmp_path):
    """Channels are the last axis of (B, T, D): against plain hooks and numpy."""
    model, loss_of = transformer()
    model.dropout.p = model.attention.dropout = 0.0
    with torch.no_grad():
        model.mlp["up"].bias[:5] = -1e6  # dead features; of (B, T, D) read as (B, C, ...), none would be dead
    model.mlp["act"] = nn.ReLU()
    twin, seen = copy.deepcopy(model), {}
    for name, module in twin.named_modules():
        module.register_forward_hook(lambda m, args, out, name=name: seen.__setitem__(name, out))
    loss = loss_of(twin.train())
    seen["mlp.up"].retain_grad()
    loss.backward()
    with watch(
        model,
        directory=tmp_path / "run",
        probes=["activations", "saturation", "jumps", "linearity", "gradients", "updates", "affine"],
        samples=10**6,
    ) as probes:
        train(model, loss_of, 1, probes, lr=0.5)
    first = entries(probes)[0]
    inputs, outputs = (seen[name].detach().double().numpy().reshape(-1, 20) for name in ("mlp.up", "mlp.act"))
    assert first["dead/mlp.act"] == pytest.approx((outputs == 0).all(0).mean())
    assert first["saturated/mlp.act"] == pytest.approx((outputs == 0).mean())
    alive = [np.corrcoef(x, y)[0, 1] ** 2 if y.any() else 1.0 for x, y in zip(inputs.T, outputs.T, strict=True)]
    assert first["linearity/mlp.act"] == pytest.approx(np.mean(alive), rel=1e-5)
    assert first["norm_out/norm/std"] == pytest.approx(seen["norm"].detach().double().numpy().std(), rel=1e-5)
    assert first["norm_out/last/std"] == pytest.approx(seen["last"][0].detach().double().numpy().std(), rel=1e-5)
    assert first["gamma/last/mean"] == 1
    assert first["grad_flow/mlp.up"] == pytest.approx(seen["mlp.up"].grad.double().norm().item(), rel=1e-5)
    weight, gradient = twin.mlp["down"].weight, twin.mlp["down"].weight.grad.double().norm().item()
    assert first["grad_weight/mlp.down"] == pytest.approx(gradient, rel=1e-5)
    assert first["update_ratio/mlp.down"] == pytest.approx(0.5 * gradient / weight.double().norm().item(), rel=1e-4)
    total = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None]).double().norm().item()
    assert first["grad_norm/total"] == pytest.approx(total, rel=1e-5)  # the shared weight once, the positions too
    assert first["grad_norm/head"] == first["grad_norm/embedding"]


def test_numbers_of_maps_are_per_channel(tmp_path):
    model, loss_of = resnet()
    with torch.no_grad():
        model.layer1[0].bn1.bias[:3] = -1e6
        model.layer1[0].bn2.bias[:2] = -1e6
    with watch(model, directory=tmp_path / "run", samples=10**6) as probes:
        train(model, loss_of, 1, probes)
    first = entries(probes)[0]
    assert first["dead/layer1.0.relu"] == 2 / 8  # in both calls
    assert first["dead/layer1.1.relu"] == 0
    assert (tmp_path / "run" / "histograms.png").read_bytes().startswith(b"\x89PNG")
    assert "grad_flow/unused" not in first
    assert first["update_ratio/unused"] == 0
    assert first["batch_var_ratio/layer1.0.bn1"] > 0


def test_accumulation_records_the_whole_batch(tmp_path):
    """Two micro-batches give the numbers of the whole batch: no batch norm, no dropout."""
    found = {}
    for parts in (1, 2):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 3)).double().train()
        optimizer, x = torch.optim.SGD(model.parameters(), 0.1), torch.randn(12, 5, dtype=torch.float64)
        with watch(model, directory=tmp_path / f"{parts}", accumulate=parts, samples=64) as probes:
            for part in x.chunk(parts):
                (model(part).square().mean() / parts).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            optimizer.step()
            optimizer.zero_grad()
            model.eval()
            model(1e9 * x)  # is not recorded
            probes.step()
        found[parts] = {k: v for k, v in entries(probes)[0].items() if k not in ("seconds", "nonfinite")}
    assert found[1]["grad_norm/total"] > 0.01  # before clipping
    assert found[2].keys() == found[1].keys()
    for tag, value in found[1].items():
        assert found[2][tag] == pytest.approx(value, rel=1e-6, abs=1e-12), tag


def test_a_copy_of_the_network_has_no_live_hooks(tmp_path):
    """Such as a moving average of the weights, copied or saved in a step that is recorded."""
    model, loss_of = transformer()
    with watch(model, directory=tmp_path / "run", every=1) as probes:
        average = copy.deepcopy(model)
        torch.save(model, tmp_path / "model.pt")
        train(average, loss_of, 1)
        train(torch.load(tmp_path / "model.pt", weights_only=False), loss_of, 1)
        with pytest.warns(UserWarning, match="step 1 had no forward pass of the network in training mode"):
            probes.step()
        train(model, loss_of, 1, probes)
    assert "grad_flow/mlp.up" in entries(probes)[2]


def test_a_failing_probe_does_not_stop_training(tmp_path, monkeypatch):
    model, loss_of = resnet()
    plain = copy.deepcopy(model)
    torch.manual_seed(1)
    expected = train(plain, loss_of, 3)
    torch.manual_seed(1)
    with watch(model, directory=tmp_path / "run", every=2) as probes:
        monkeypatch.setattr(probes._snapshot, "after_update", lambda: 1 / 0)
        with pytest.warns(UserWarning, match="recording stopped in step 1: ZeroDivisionError"):
            assert train(model, loss_of, 3, probes) == expected
    status = read_status(tmp_path / "run")
    assert (status["state"], status["step"]) == ("failed", 3)
    assert "Traceback" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize(("error", "state"), [(ValueError("bad"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_the_state_tells_how_training_ended(error, state, tmp_path):
    model, loss_of = resnet()
    with pytest.raises(type(error)), watch(model, directory=tmp_path / "run", total_steps=9) as probes:
        train(model, loss_of, 2, probes)
        raise error
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["step"], status["total_steps"]) == (state, 2, 9)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
