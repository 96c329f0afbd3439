"""The noise after the norms against the distributions of its formula."""

import pytest
import torch
from same_runs import differences
from scipy import stats

from normexp.models import layers
from normexp.models.build import build_model
from normexp.models.layer import Noise, named_layers
from normexp.training import checkpoint
from tests.conftest import compose
from tests.training.short import resume, train, train_and_record

RESNET = ["model=resnet", "model.depth=8", "model.width=4"]


def drawn(noise, samples, channels):
    """A step's m and s, (B, C) each: y at x = 0, and what x = 1 adds to it."""
    state = torch.get_rng_state()
    m = noise(torch.zeros(samples, channels, dtype=torch.float64))
    torch.set_rng_state(state)
    return m, noise(torch.ones(samples, channels, dtype=torch.float64)) - m


def test_scale_and_shift_come_from_the_papers_distributions():
    torch.manual_seed(0)
    n = 0.5
    m, s = drawn(Noise(n), 2000, 1000)
    # Over the samples of a channel: uniform, 0.1 to either side of its mu; normal, of standard deviation 0.1 around its sigma.
    mu, sigma = (m.amax(0) + m.amin(0)) / 2, s.mean(0)
    assert (m.amax(0) - m.amin(0)).mean() == pytest.approx(0.2, rel=0.01)
    assert stats.kstest((m - mu).flatten()[:20_000], stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3
    assert s.std(0).mean() == pytest.approx(0.1, rel=0.01)
    assert stats.kstest((s - sigma).flatten()[:20_000], stats.norm(0, 0.1).cdf).pvalue > 1e-3
    # Over the channels: mu uniform in [-0.5, 0.5], sigma in [1, 1.25].
    assert stats.kstest(mu, stats.uniform(-0.5, 1.0).cdf).pvalue > 1e-3
    assert stats.kstest(sigma, stats.uniform(1, 0.25).cdf).pvalue > 1e-3


def test_a_channel_of_an_image_has_one_scale_and_shift_and_each_step_others():
    torch.manual_seed(0)
    noise, x = Noise(2.0), torch.randn(5, 3, 4, 6).to(memory_format=torch.channels_last)
    one, other = noise(x), noise(x)
    assert not torch.equal(one, other)
    assert one.is_contiguous(memory_format=torch.channels_last)
    for y in (one, other):
        flat, values = x.flatten(2).double(), y.flatten(2).double()
        slope = (values[..., 1] - values[..., 0]) / (flat[..., 1] - flat[..., 0])
        shift = values[..., 0] - slope * flat[..., 0]
        torch.testing.assert_close(values, slope[..., None] * flat + shift[..., None], rtol=0, atol=1e-4)
        assert slope.flatten().unique().numel() == shift.flatten().unique().numel() == 15
    assert noise.eval()(x) is x


@pytest.mark.parametrize("position", ["pre", "post", "input"])
@pytest.mark.parametrize("model", [["model=mlp"], ["model=cnn"], RESNET], ids=" ".join)
def test_it_follows_the_norm_or_its_place(model, position):
    where = f"norm.position={position}"
    with_norm = layers(compose(*model, where, "noise=0.5"))
    for plan in with_norm:
        at = plan.parts.index("norm") if "norm" in plan.parts else None
        assert at is None or plan.parts[at + 1] == "noise"
        assert ("noise" in plan.parts) == ("norm" in plan.parts)
    expected = [tuple(part for part in plan.parts if part != "norm") for plan in with_norm]
    for more in (["norm=none"], ["norm.layers=[]"]):
        assert [plan.parts for plan in layers(compose(*model, where, "noise=0.5", *more))] == expected
    assert not any("noise" in plan.parts for plan in layers(compose(*model, where)))


def test_evaluation_has_none_and_training_has():
    plain, noisy = (build_model(compose(f"noise={n}")) for n in (0, 0.5))
    x = torch.randn(8, 1, 8, 8)
    assert not torch.equal(plain(x), noisy(x))
    noisy.load_state_dict(plain.state_dict())  # it has no state of its own
    assert torch.equal(plain.eval()(x), noisy.eval()(x))
    assert sum(isinstance(m, Noise) for m in noisy.modules()) == 3
    assert not any(isinstance(m, Noise) for m in plain.modules())


@pytest.mark.parametrize("amp", [None, "bf16"])
@pytest.mark.parametrize("norm", ["none", "bn"])
def test_it_computes_in_float32(norm, amp):
    net = build_model(compose(f"norm={norm}", "noise=0.5", *([f"amp={amp}"] if amp else [])))
    seen = []
    for layer in named_layers(net).values():
        if hasattr(layer, "noise"):
            layer.noise.register_forward_hook(lambda m, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16, enabled=amp is not None):
        net(torch.randn(4, 1, 8, 8))
    assert seen == [torch.float32] * 3


NOISY = ["noise=0.5", "dropout=0.2", "dropout_scaled=false", "dropout_at=norm", "probe=full", "checkpoint_every=5"]


@pytest.mark.parametrize(
    "more",
    [[], ["norm.position=input", "norm.layers=[conv2]"], ["model=mlp", "norm=none", "amp=bf16"]],
    ids=" ".join,
)
def test_a_resumed_run_ends_the_same(tmp_path, more):
    whole = train(tmp_path / "whole", *NOISY, *more)
    assert whole.state == "completed"
    part = train(tmp_path / "part", *NOISY, *more)
    # As if it had been killed in step 11.
    (part.directory / "checkpoint.prev.pt").replace(part.directory / "checkpoint.pt")
    assert checkpoint.load(part.directory / "checkpoint.pt")["step"] == 10
    assert resume(part.directory, *NOISY, *more).state == "completed"
    assert differences(whole.directory, part.directory) == []


def test_probes_do_not_disturb_it():
    looks = (["probe='off'"], ["probe=full", "probe.landscape=true", "probe.every=1", "probe.landscape_every=1"])
    nets = [train_and_record("noise=0.5", "dropout=0.2", "dropout_scaled=false", *more)[1].model for more in looks]
    for one, two in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(one, two)
