"""The probe of learned parameters, for norms and activations that have more than gamma and beta."""

import pytest
import torch

from normexp.models.build import build_model
from normexp.models.layer import named_layers
from normexp.probes.base import Step
from normexp.probes.runner import Probes
from tests.conftest import compose
from tests.probes.watcher import images

PARAMETERS = {
    "frn": {"norm.weight": "gamma", "norm.bias": "beta", "norm.epsilon": "epsilon", "activation.tau": "tau"},
    "dyt": {"norm.weight": "gamma", "norm.bias": "beta", "norm.alpha": "alpha", "activation.tau": "tau"},
    "derf": {"norm.alpha": "alpha", "norm.shift": "shift"},
    "evonorm": {"norm.v": "v"},
    "rms": {"norm.weight": "gamma"},
}


@pytest.mark.parametrize("norm", PARAMETERS)
def test_every_parameter_is_reported_under_its_symbol(norm):
    config = compose(f"norm={norm}", "activation=tlu", "model=mlp", "model.width=8", "model.depth=2", "probe=full")
    model = build_model(config)
    layers = named_layers(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("weight.weight"):
                parameter.uniform_(0.5, 1.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    probes = Probes(layers, config.probe, seed=0)
    inputs, labels = images()
    snapshot = probes.snapshot(Step(1, 10, model, inputs, labels, 0.1))
    with snapshot:
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
    loss.backward()
    snapshot.after_backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    snapshot.after_update()
    found = snapshot.measurements()
    for parameter, symbol in PARAMETERS[norm].items():
        values = before[f"fc1.{parameter}"]
        assert found.scalars[f"{symbol}/fc1/mean"] == pytest.approx(float(values.mean()), rel=1e-5)
        assert f"{symbol}/fc1" in found.histograms


@pytest.mark.parametrize("norm", ["dyt", "derf"])
@pytest.mark.parametrize("accumulate", [1, 4])
def test_saturation_of_norms_that_squash(norm, accumulate):
    config = compose(f"norm={norm}", "model=mlp", "model.width=8", "model.depth=2", f"accumulate={accumulate}")
    model = build_model(config)
    layers = named_layers(model)
    module = layers["fc1"].norm
    with torch.no_grad():
        module.alpha.fill_(3.0)
        if norm == "derf":
            module.shift.fill_(0.5)
    inputs, labels = images()
    z = 3 * layers["fc1"].weight(inputs.flatten(1)).detach().double()
    squashed = torch.tanh(z) if norm == "dyt" else torch.erf(z + 0.5)
    probes = Probes(layers, config.probe, seed=0)
    step = Step(1, 10, model, inputs, labels, 0.1, accumulate=accumulate)
    snapshot = probes.snapshot(step)
    with snapshot:
        for part, of in step.micro_batches():
            torch.nn.functional.cross_entropy(model(part), of).backward()
    snapshot.after_backward()
    snapshot.after_update()
    found = snapshot.measurements().scalars["norm_saturated/fc1"]
    assert 0.05 < found < 0.95
    assert found == pytest.approx(float((squashed.abs() > 0.9).double().mean()), abs=1e-6)


@pytest.mark.parametrize("samples", [64, 16384])
def test_saturation_of_tlu_counts_what_is_at_the_threshold(samples):
    """In whole, whatever the size of the sample: each channel has a threshold of its own."""
    config = compose(
        "activation=tlu", "model=mlp", "model.width=8", "model.depth=2", "norm=none", f"probe.samples={samples}"
    )
    model = build_model(config)
    layers = named_layers(model)
    tau = torch.tensor([-5.0, -0.1, 0.0, 0.1, 5.0, 5.0, 0.05, -0.05])
    with torch.no_grad():
        layers["fc1"].activation.tau.copy_(tau)
    inputs, labels = images()
    active = (layers["fc1"].weight(inputs.flatten(1)) > tau).double()
    snapshot = Probes(layers, config.probe, seed=0).snapshot(Step(1, 10, model, inputs, labels, 0.1))
    with snapshot:
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    snapshot.after_backward()
    snapshot.after_update()
    found = snapshot.measurements().scalars
    assert found["dead/fc1"] == 0.25
    assert found["derivative/fc1"] == pytest.approx(float(active.mean()), abs=1e-6)
    assert found["saturated/fc1"] == pytest.approx(1 - float(active.mean()), abs=1e-6)
