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
