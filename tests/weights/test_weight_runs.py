"""Networks with normalized weights: trained, probed, resumed, folded, in mixed precision."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from same_runs import differences
from torch.nn import functional as F

from normexp.config import ConfigError
from normexp.models.build import build_model
from normexp.models.describe import describe
from normexp.models.layer import named_layers
from normexp.norms.fold import fold
from normexp.probes.base import Step
from normexp.probes.landscape import LossSurface
from normexp.report.groups import group
from normexp.report.read import read
from normexp.rundir import read_config
from normexp.sweeps.outcome import changed_keys
from normexp.training.build import build
from normexp.training.evaluate import evaluate, evaluate_with_batch_statistics
from normexp.weights import WEIGHTS
from tests.conftest import compose
from tests.training.short import SMALL, resume, terminate, train, train_and_record

pytestmark = pytest.mark.long

NORMALIZED = [name for name in WEIGHTS if name != "none"]
MODELS = {
    "cnn": ["model=cnn", "model.channels=[4,8]"],
    "mlp": ["model=mlp", "model.depth=2", "model.width=8"],
    "resnet": ["model=resnet", "model.depth=8", "model.width=4"],
    "preact": ["model=resnet", "model.depth=8", "model.width=4", "model.block=preact"],
}
OLD_RUN = Path(__file__).parents[1] / "training" / "old_run"


def effective(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    model = copy.deepcopy(model).eval()  # spectral norm computes with what it has
    layers = {name: layer for name, layer in named_layers(model).items() if hasattr(layer, "weight")}
    return {name: layer.get_submodule("weight").weight.detach() for name, layer in layers.items()}


@pytest.mark.parametrize("norm", ["norm=none", "norm=bn"])
@pytest.mark.parametrize("weight", NORMALIZED)
@pytest.mark.parametrize("model", ["cnn", "preact"])
def test_one_step_moves_all_parameters(model, weight, norm):
    overrides = [*MODELS[model], f"weight={weight}", *norm.split(), "steps=1", "schedule=constant"]
    before = build_model(compose(*SMALL, *overrides)).state_dict()
    _, parts, _ = train_and_record(*overrides)
    still = [name for name, p in parts.model.named_parameters() if torch.equal(p, before[name])]
    cancelled = (".weight.bias", ".gain", ".original0")  # by bn, which undoes an affine map of a channel
    assert [name for name in still if norm != "norm=bn" or not name.endswith(cancelled)] == []


@pytest.mark.parametrize("weight", NORMALIZED)
@pytest.mark.parametrize("model", MODELS)
def test_normalizes_the_same_draws_in_the_layers_that_the_table_shows(model, weight):
    config = compose(*MODELS[model], f"weight={weight}", "norm=gn")
    network = build_model(config)
    drawn, now = effective(build_model(compose(*MODELS[model], "norm=gn"))), effective(network)
    for row, (name, layer) in zip(describe(config), named_layers(network).items(), strict=True):
        assert row.name == name
        if not hasattr(layer, "weight"):
            continue
        part = layer.get_submodule("weight")
        assert row.parameters == sum(p.numel() for p in part.parameters())
        is_normalized = any(text.startswith(f"{weight} ") for text in row.parts)
        assert is_normalized == (name != "head" or weight in ("weight_norm", "spectral"))
        if not is_normalized:
            assert torch.equal(now[name], drawn[name])
            continue
        tensor = [*part.parametrizations.weight.parameters(recurse=False)][-1]
        assert torch.equal(tensor, drawn[name])
        same = torch.allclose(now[name], drawn[name], rtol=1e-5)
        assert same == (weight == "weight_norm")


@pytest.mark.parametrize("weight", NORMALIZED)
def test_resuming_gives_the_same_result(tmp_path, at_step, weight):
    overrides = [f"weight={weight}", "norm=gn", "probe=full", "checkpoint_every=5", "probe.landscape=true"]
    whole = train(tmp_path / "whole", *overrides).directory
    at_step(8, terminate)
    stopped = train(tmp_path / "stopped", *overrides)
    assert stopped.state == "interrupted"
    assert resume(stopped.directory, *overrides).state == "completed"
    assert differences(whole, stopped.directory) == []


@pytest.mark.parametrize("weight", NORMALIZED)
def test_probes_and_evaluations_change_nothing(weight):
    """Each reading of a weight in training mode would advance spectral norm's power method."""
    quiet = ["probe=off", "eval_every=100", "log_every=12"]
    probed = ["probe=full", "probe.landscape=true", "probe.landscape_steps=[3]", "eval_every=1", "log_every=1"]
    plain, watched = (train_and_record(f"weight={weight}", *more)[1] for more in (quiet, probed))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, watched.model.state_dict()[name]), name
    state = copy.deepcopy(watched.model.state_dict())
    evaluate(watched.model, watched.data.val)
    evaluate_with_batch_statistics(watched.model, watched.data.val, 32)
    assert all(torch.equal(value, state[name]) for name, value in watched.model.state_dict().items())


@pytest.mark.parametrize("weight", NORMALIZED)
def test_probes_are_of_the_trained_weight(weight):
    """By hand, from the tensor that the optimizer updates."""
    overrides = [f"weight={weight}", "norm=gn", "steps=1", "optim.momentum=0", "schedule=constant", "lr=0.3"]
    records, _, _ = train_and_record(*overrides, "probe=full")
    parts = build(compose(*SMALL, *overrides))
    inputs, labels = parts.data.train.batch(next(parts.order))
    F.cross_entropy(parts.model(inputs), labels).backward()
    part = parts.model.get_submodule("conv2.weight")
    trained = [*part.parametrizations.weight.parameters(recurse=False)][-1]
    scalars = records[0].scalars
    assert scalars["grad_weight/conv2"] == pytest.approx(float(trained.grad.norm()), rel=1e-5)
    assert scalars["weight_norm/conv2"] == pytest.approx(float(trained.detach().norm()), rel=1e-5)
    ratio = 0.3 * float(trained.grad.norm() / trained.detach().norm())
    assert scalars["update_ratio/conv2"] == pytest.approx(ratio, rel=1e-3)
    squares = sum(float(p.grad.square().sum()) for p in parts.model.get_submodule("conv2").parameters())
    assert records[1].scalars["grad_norm/conv2"] == pytest.approx(squares**0.5, rel=1e-5)


@pytest.mark.parametrize("weight", NORMALIZED)
def test_gains_are_probed(weight):
    records, parts, _ = train_and_record(*MODELS["cnn"], f"weight={weight}", "probe=full", "steps=10")
    means = {tag: value for tag, value in records[-1].scalars.items() if tag.startswith("gain/") and "mean" in tag}
    layers = {"sws": ["conv1", "conv2"], "weight_norm": ["conv1", "conv2", "head"]}.get(weight, [])
    assert list(means) == [f"gain/{name}/mean" for name in layers]
    before = build_model(compose(*SMALL, *MODELS["cnn"], f"weight={weight}"))
    for name in layers:
        start = {"sws": 1.0, "weight_norm": float(effective(before)[name].flatten(1).norm(dim=1).mean())}[weight]
        assert records[0].scalars[f"gain/{name}/mean"] == pytest.approx(start, rel=1e-5)
    charts = [chart.title for chart in parts.probes.charts()]
    assert ("mean of gain" in charts) == bool(layers)


def test_the_landscape_starts_from_the_steps_own_loss():
    parts = build(compose(*SMALL, "weight=spectral", "init=kaiming"))
    parts.model.train()
    inputs, labels = parts.data.train.batch(next(parts.order))
    surface = LossSurface(Step(1, 9, parts.model, inputs, labels, 0.1))
    loss = F.cross_entropy(parts.model(inputs), labels)
    assert float(surface(surface.weights)[0]) == float(loss.detach())


@pytest.mark.parametrize("weight", NORMALIZED)
@pytest.mark.parametrize("model", ["cnn", "mlp", "resnet"])
def test_folding_leaves_plain_layers(model, weight):
    _, parts, _ = train_and_record(*MODELS[model], f"weight={weight}")
    network, state = parts.model.double(), copy.deepcopy(parts.model.state_dict())
    folded = fold(network)
    inputs, _ = parts.data.train.batch(torch.arange(9))
    torch.testing.assert_close(folded(inputs.double()), network.eval()(inputs.double()), rtol=0, atol=1e-10)
    assert not any("parametrizations" in name for name in folded.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert effective(network).keys() == effective(folded).keys()


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@pytest.mark.parametrize("weight", NORMALIZED)
def test_amp_computes_weights_in_float32(weight, amp):
    mixed, exact = (build(compose(*SMALL, f"weight={weight}", *more)) for more in ([f"amp={amp}"], []))
    inputs, _ = mixed.data.train.batch(torch.arange(64))
    seen = {}
    part = mixed.model.get_submodule("conv2.weight")
    part.parametrizations.weight[0].register_forward_hook(lambda m, i, output: seen.update(weight=output.detach()))
    with mixed.precision.autocast():
        mixed.model(inputs)
    exact.model(inputs)
    assert seen["weight"].dtype == torch.float32
    torch.testing.assert_close(seen["weight"], effective(exact.model)["conv2"], rtol=1e-5, atol=1e-6)
    buffers = dict(mixed.model.named_buffers())
    assert all(b.dtype in (torch.float32, torch.int64) for b in buffers.values())


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # what torch says to itself when its compiler is imported
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
@pytest.mark.parametrize("weight", ["sws", "spectral"])
def test_compiled_training_is_the_same_up_to_rounding(weight):
    small = ["model=mlp", "model.depth=1", "model.width=8", "steps=3", "probe=off", f"weight={weight}"]
    plain, compiled = (train_and_record(*small, *more)[1].model.state_dict() for more in ([], ["compile=true"]))
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["weight=ws", "model=mlp", "model.widths=[1,4]"], "weight=ws can't work in layer fc2 of model=mlp"),
        (["weight=sws", "model=mlp", "model.widths=[1,4]"], "weight=sws can't work in layer fc2"),
        (["weight=ws", "init.input_std=1"], "weight=ws undoes it"),
        (["weight=spectral", "init.input_std=1"], "weight=spectral undoes it"),
        (["weight=weight_norm", "init=normal", "init.std=0"], "weights that are all 0"),
    ],
)
def test_refuses_what_can_not_work(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(*overrides)


def test_weight_norm_starts_from_rescaled_weights():
    """Salimans and Kingma's data-dependent initialization of the scale."""
    plain, normalized = (
        build(compose("model=mlp", "norm=none", "init.input_std=0.7", f"weight={weight}")).model
        for weight in ("none", "weight_norm")
    )
    for name, value in effective(plain).items():
        torch.testing.assert_close(effective(normalized)[name], value, rtol=1e-4, atol=1e-6)


def test_a_run_from_before_the_group_existed_has_plain_weights():
    assert "weight" not in yaml.safe_load((OLD_RUN / "config.yaml").read_text())
    for name in ("old", "new", "standardized"):
        shutil.copytree(OLD_RUN, Path("runs", name))
    tree = read_config(Path("runs/new"))
    Path("runs/new/config.yaml").write_text(yaml.safe_dump(tree | {"weight": {"name": "none"}}))
    ws = {"weight": {"name": "ws", "eps": 1e-10}}
    Path("runs/standardized/config.yaml").write_text(yaml.safe_dump(tree | ws))
    groups = group(read([Path("runs")]).runs).groups
    assert {g.label: [run.name for run in g.runs] for g in groups} == {
        "weight=none": ["new"],
        "weight=ws": ["standardized"],
    }  # old is the same run as new
    assert group(read([Path("runs")]).runs).repeated == 1
    config = compose("weight=ws")
    assert any(text.startswith("weight.name (none, now ws)") for text in changed_keys(Path("runs/old"), config))
    assert not any(text.startswith("weight") for text in changed_keys(Path("runs/old"), compose()))
