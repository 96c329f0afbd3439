"""init.input_std: the inputs of the activations start with this standard deviation, and nothing else changes."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from normexp.cli import main
from normexp.config import ConfigError
from normexp.models.build import build_model
from normexp.models.layer import named_layers
from normexp.models.rescale import rescale_weights
from normexp.rundir import read_metrics
from normexp.training.build import build
from tests.conftest import compose

NETS = {
    "mlp sigmoid": ["model=mlp", "norm=none", "activation=sigmoid", "init=normal", "init.std=10"],
    "mlp bn, default init with biases": ["model=mlp", "model.depth=5"],
    "mlp post dropout": ["model=mlp", "norm=ln", "norm.position=post", "dropout=0.5", "noise=0.5"],
    "cnn": ["norm=none", "init=kaiming"],
    "resnet": ["model=resnet", "model.depth=8", "model.width=4"],
    "resnet preact": ["model=resnet", "model.depth=8", "model.width=4", "model.block=preact"],
}


def images(config):
    return build(config).data.train.batch(torch.arange(512))[0]


def remember(outputs, name, _, __, output):
    outputs[name] = output.double().numpy(force=True)


@pytest.mark.parametrize("net", NETS)
def test_layers_are_rescaled_by_one_factor_to_the_standard_deviation(net):
    plain, config = compose(*NETS[net]), compose(*NETS[net], "init.input_std=0.7")
    model = build_model(config)
    before = {key: value.clone() for key, value in build_model(plain).state_dict().items()}
    rescale_weights(model, images(plain), 0.7)
    *hidden, head = (name for name, layer in named_layers(model).items() if hasattr(layer, "weight"))
    after = model.state_dict()
    for key, value in after.items():
        name, _, part = key.rpartition(".weight.")
        if name in hidden and part:
            ratio = (after[f"{name}.weight.weight"] / before[f"{name}.weight.weight"]).median()
            torch.testing.assert_close(value, before[key] * ratio)
        else:  # the head, gamma and beta, running statistics
            assert torch.equal(value, before[key]), key

    outputs = {}
    for name in hidden:
        keep = named_layers(model)[name].weight.register_forward_hook
        keep(partial(remember, outputs, name))
    model.eval()
    for layer in named_layers(model).values():
        if hasattr(layer, "norm"):
            layer.norm.train()
    model(images(plain))
    for name in hidden:
        assert np.std(outputs[name]) == pytest.approx(0.7, rel=1e-3), name
    assert head not in outputs


def test_an_mlp_by_hand():
    """Written out layer by layer in NumPy."""
    config = compose("model=mlp", "model.depth=3", "norm=none", "activation=sigmoid", "init=normal", "init.std=3")
    x = images(config).flatten(1).double().numpy()
    drawn = {n: layer.weight.weight.detach().double().numpy() for n, layer in named_layers(build_model(config)).items()}
    rescaled = named_layers(build(compose(*NETS["mlp sigmoid"], "init.std=3", "init.input_std=1.5")).model)
    for name in ("fc1", "fc2", "fc3"):
        weight = drawn[name] * (1.5 / np.std(x @ drawn[name].T))
        np.testing.assert_allclose(rescaled[name].weight.weight.detach().numpy(), weight, rtol=1e-4)
        x = 1 / (1 + np.exp(-x @ weight.T))
    np.testing.assert_array_equal(rescaled["head"].weight.weight.detach().numpy(), drawn["head"].astype(np.float32))


def test_weights_do_not_depend_on_the_batch_size_or_random_state():
    one, two = (["model=mlp", "init.input_std=1", f"batch_size={size}"] for size in (4, 64))
    torch.manual_seed(1)
    first = build(compose(*one)).model.state_dict()
    torch.rand(3)
    second = build(compose(*two)).model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_layer_without_spread_is_refused():
    config = compose("model=mlp", "init=normal", "init.std=0", "norm=none", "init.input_std=1")
    with pytest.raises(ConfigError, match="layer fc1 are constant or not finite"):
        build(config)


def test_a_resumed_run_is_the_same():
    words = ["train", "model=mlp", "init.input_std=0.5", "data.train_size=300", "log_every=1", "eval_every=4"]
    assert main([*words, "steps=12", "schedule=constant", "name=whole"]) == 0
    assert main([*words, "steps=6", "schedule=constant", "name=part"]) == 0
    assert main(["resume", "runs/part", "steps=12"]) == 0
    whole, part = (read_metrics(Path("runs", name)) for name in ("whole", "part"))
    loss = [[(entry["step"], entry["train/loss"]) for entry in run if "train/loss" in entry] for run in (whole, part)]
    assert loss[0] == loss[1] and len(loss[0]) == 12
    assert "input_std: 0.5" in Path("runs/part/config.yaml").read_text()
