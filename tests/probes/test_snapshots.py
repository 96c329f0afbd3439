"""Snapshots: which probes and layers take part, and that hooks and memory are released."""

import re
from itertools import pairwise

import pytest
import torch

from normexp.models.build import build_model
from normexp.models.layer import named_layers
from normexp.probes import PROBES
from normexp.probes.base import Step, is_due
from normexp.probes.runner import Probes
from tests.conftest import compose
from tests.probes.watcher import ALL, Watcher, images


def test_hooks_are_removed_after_a_snapshot_and_after_an_error():
    config = compose(*ALL, "probe.every=1")
    watcher = Watcher(build_model(config), config)

    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in watcher.model.modules())

    inputs, labels = images()
    step = Step(1, 10, watcher.model, inputs, labels, 0.1)
    with watcher.probes.snapshot(step):
        assert hooks() > 0
    assert hooks() == 0
    watcher(inputs, labels)
    assert hooks() == 0
    with pytest.raises(RuntimeError, match="size"), watcher.probes.snapshot(step):
        watcher.model(torch.randn(2, 5, 8, 8))
    assert hooks() == 0


def test_between_snapshots_no_hooks_or_copies_exist():
    config = compose(
        "probe=full", "probe.landscape=true", "probe.jumps=true", "probe.every=5", "probe.landscape_every=5"
    )
    watcher = Watcher(build_model(config), config)
    probes = {type(probe).__name__: probe for probe in watcher.probes._probes.values()}
    assert len(probes) == len(PROBES)
    for step in range(1, 13):
        found = watcher(*images(seed=step))
        assert bool(found and found.scalars) == (step in (1, 5, 10))
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in watcher.model.modules())
        assert bool(probes["Noise"].last) == (step in (4, 9))
        assert not probes["Updates"]._before
        assert probes["Landscape"]._loss is None


def test_every_chart_shows_measured_tags():
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
    model = ["model=vit", "model.depth=2"] if probe == "attention" else []
    config = compose(*model, "probe='off'", f"probe.{probe}=true", "probe.every=1")
    watcher = Watcher(build_model(config), config)
    alone = [watcher(*images(seed=n)) for n in range(2)]
    together = compose(*model, *ALL, "probe.every=1", "probe.samples=16384", "probe.landscape_every=1")
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
    "jumps": {"jump", "unit_drift"},
    "linearity": {"linearity"},
    "gradients": {"grad_flow", "grad_weight", "grad_growth"},
    "updates": {"weight_norm", "update_ratio"},
    "noise": {"noise_scale"},
    "affine": {"gamma", "beta"},
    "batch_statistics": {"batch_mean_distance", "batch_var_ratio"},
    "attention": {"attention_entropy"},
    "landscape": {"landscape", "shift_cosine", "shift_distance"},
}


def test_patterns_select_layers_but_totals_are_over_all_layers():
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


def test_patterns_that_match_no_layer():
    config = compose("probe='off'")
    probes = Probes(named_layers(build_model(config)), config.probe, seed=0)
    assert probes.snapshot(Step(1, 1, None, None, None, 0.1)) is None


def due(early, every=100, total=400):
    return [step for step in range(1, total + 1) if is_due(step, total, every, early)]


@pytest.mark.parametrize(
    ("early", "every", "total", "expected"),
    [
        (0, 100, 250, [1, 100, 200, 250]),
        (3, 100, 250, [1, 7, 23, 53, 100, 200, 250]),
        (3, 100, 30, [1, 7, 23, 30]),
        (15, 4, 9, [1, 2, 3, 4, 8, 9]),
        (15, 1, 3, [1, 2, 3]),
        (15, None, 3, []),
    ],
)
def test_early_snapshots_lie_before_the_first_regular_one(early, every, total, expected):
    assert due(early, every, total) == expected


def test_the_default_run_has_twenty_snapshots_denser_at_the_beginning():
    probe = compose().probe
    steps = due(probe.early, probe.every)
    assert len(steps) >= 20
    gaps = [b - a for a, b in pairwise(steps[:17])]
    assert all(a <= b + 1 for a, b in pairwise(gaps))  # rounded
    for choice in ("off", "full", "landscape"):
        assert compose(f"probe='{choice}'").probe.early == 0


def test_unit_drift_is_relative_to_step_0_after_a_resume():
    """A checkpoint of version 0.2 lacks the moments of step 0: it is loaded, and the tag is left out."""
    config = compose("model=mlp", "norm=none", "probe='off'", "probe.jumps=true", "probe.every=1")
    watchers = [Watcher(build_model(config), config) for _ in range(3)]
    whole, resumed, old = watchers
    batches = [images(seed=seed) for seed in range(4)]
    expected = [whole(*batch).scalars for batch in batches]
    for batch in batches[:2]:
        resumed(*batch)
    state = resumed.probes.state_dict()
    for watcher in (resumed, old):
        watcher.model.load_state_dict(resumed.model.state_dict())
        watcher.probes = Probes(named_layers(watcher.model), config.probe, seed=config.seed)
        watcher.step = 2
    resumed.probes.load_state_dict(state)
    assert [resumed(*batch).scalars for batch in batches[2:]] == expected[2:]

    old.model.load_state_dict(watchers[0].model.state_dict())
    before = {"bins": {}, "probes": {"jumps": state["probes"]["jumps"]["last"]}}
    old.probes.load_state_dict(before)
    found = old(*batches[2]).scalars
    assert "jump/fc1" in found and "unit_drift/fc1" not in found


def test_constant_outputs_count_as_linear():
    config = compose(
        "model=mlp", "norm=none", "activation=relu", "probe='off'", "probe.linearity=true", "probe.every=1"
    )
    watcher = Watcher(build_model(config), config)
    with torch.no_grad():
        watcher.model.fc1.weight.bias[:50] = -1e3  # dead
        watcher.model.fc1.weight.bias[50:] = 1e3  # never 0
    assert watcher(*images()).scalars["linearity/fc1"] == pytest.approx(1)
