"""Composer gives the same configs as Hydra, composed one by one, in a fraction of the time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException
from hypothesis import example, given, settings
from hypothesis import strategies as st

from normexp.cli import main
from normexp.compose.choices import CHOICES
from normexp.compose.compose import Composer, compose_sweep, to_plain, with_own_choices, without_hydra
from normexp.compose.errors import config_errors
from normexp.config import ConfigError
from tests.compose.overrides import KEYS, SYNTAX, fitting

OWN = """\
# @package _global_
defaults: [override /model: mlp]
lr: ${optim.momentum}
name: ${norm.name}-${lr}-${model.depth}
norm:
  eps: ${.momentum}
model: {depth: 4}
"""

CHOSEN = [f"{group}={name}" for group, classes in CHOICES.items() for name in classes]

REFERENCES = ["lr=${seed}", "lr=${norm.eps}", "norm.eps=${lr}", "seed=${model.depth}", "name='${norm.name}-${lr}'"]
REFERENCES += ["batch_size=${missing}", "data_dir=${oc.env:HOME}", "model=${norm}", "dropout_layers=['${norm.name}',b]"]
LISTS = ["model.channels=[8,16]", "probe.layers=[fc1]", "norm.layers=[]", "model.channels=[]", "dropout_layers=[a,[b]]"]
ODD = ["+new=1", "++lr=2", "++new.key=2", "~dropout", "~dropout=0.0", "~norm.eps", "~norm", "~optim.momentum=1"]
ODD += ["lr=???", "norm={eps:0.1}", "norm={name:gn}", "lr={a:1}", "norm=[bn,gn]", "norm=null", "norm@model=bn"]
ODD += ["+norm@new=bn", "hydra.job.name=x", "hydra.launcher.batch_size=3", "hydra/launcher=basic", "hydra={}", "lr@x=1"]
ODD += ["lr=1,2", "lr=", "experiment=lr-range", "debug=fast", "norm.groups=2", "optim.nesterov=true", "lrr=1"]
ODD += ["norm.x.y=1", "lr.x=1"]


JOBS = [
    ["norm=bn"],
    ["norm=bn", "optim.momentum=0.3"],
    ["norm=bn", "lr=0.2", "norm.momentum=0.4"],
    ["norm=bn", "norm.eps=1", "name=x"],
    ["norm=gn", "lr=1"],  # which has no momentum that eps could refer to
    ["norm=gn", "norm.eps=1", "model.depth=2"],
    ["norm=bn", "model=cnn"],
    ["norm=bn", "model=cnn", "model.depth=2"],
    ["norm=bn", "~name"],
    ["norm=mine", "seed=7"],
]


def by_hydra(cfg: Any, loader: Any, overrides: list[str]) -> dict[str, Any]:
    """The config that Hydra composes from all overrides."""
    composed = loader.load_sweep_config(cfg, overrides)
    return with_own_choices(to_plain(without_hydra(composed)), composed.hydra.runtime.choices)


def outcome(compose: Callable[[], Any]) -> str:
    """A config or an error message, as a string, since nan is not equal to itself."""
    try:
        with config_errors():
            return repr(compose())
    except ConfigError as error:
        return str(error)


def parses(override: str) -> bool:
    """Whether Hydra can parse it. Other overrides are refused before combinations are composed."""
    try:
        OverridesParser.create().parse_override(override)
    except (HydraException, ValueError, RecursionError):
        return False
    return True


VALUES = st.sampled_from(sorted(KEYS)).flatmap(
    lambda key: st.one_of(fitting(KEYS[key], small=True), SYNTAX).map(lambda value: f"{key}={value}")
)
OVERRIDES = st.one_of(VALUES, VALUES, *map(st.sampled_from, (CHOSEN, REFERENCES, LISTS, ODD))).filter(parses)


@pytest.mark.long
def test_a_combination_is_what_hydra_composes():
    """All examples share one composer: none may change its cached configs."""
    cfg, loader = compose_sweep([], None)
    composer = Composer(cfg, loader)

    @settings(max_examples=20)
    @example(["norm=bn", "lrr=1"])
    @example(["norm=gn", "norm.groups=2", "+new.key=2"])
    @example(["~dropout", "dropout=0.5"])
    @example(["lr=${norm.eps}", "norm.eps=0.5", "norm=ln"])
    @given(st.lists(OVERRIDES, min_size=1, max_size=5))
    def compare(overrides):
        assert outcome(lambda: composer.tree(overrides)) == outcome(lambda: by_hydra(cfg, loader, overrides))

    compare()


def test_references_of_own_files_are_what_hydra_composes():
    for path, text in (("experiment/mine.yaml", OWN), ("norm/mine.yaml", "defaults: [bn]\nmomentum: ${seed}\n")):
        Path("own", path).parent.mkdir(parents=True)
        Path("own", path).write_text(text)
    cfg, loader = compose_sweep(["experiment=mine"], Path("own"))
    composer, found = Composer(cfg, loader), []
    for job in JOBS:
        overrides = ["experiment=mine", *job]
        found.append(outcome(lambda: composer.tree(overrides)))  # noqa: B023
        assert found[-1] == outcome(lambda: by_hydra(cfg, loader, overrides))  # noqa: B023
    assert all(f"'name': '{name}'" in found[i] for i, name in enumerate(["bn-0.9-4", "bn-0.3-4", "bn-0.2-4", "x"]))
    assert "'eps': 0.4" in found[2]


def test_hydra_composes_each_set_of_choices_once(monkeypatch):
    cfg, loader = compose_sweep([], None)
    composer, made = Composer(cfg, loader), []
    load = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda cfg, words: made.append(words) or load(cfg, words))
    for norm in ("bn", "ln"):
        for seed in range(10):
            config = composer.compose("x", [f"norm={norm}", f"seed={seed}", "lr=0.3"]).config
            assert (config.norm.name, config.seed, config.lr) == (norm, seed, 0.3)
    assert made == [["norm=bn"], ["norm=ln"]]


@pytest.mark.parametrize("failure", [ConfigCompositionException, AttributeError, UnboundLocalError])
@pytest.mark.parametrize("words", [["lr=0.5"], ["-m", "seed=0,1"], ["experiment=lr-range"], ["--cfg", "job"]])
def test_ctrl_c_is_an_interruption_even_if_hydras_cleanup_fails(words, failure, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        try:
            raise KeyboardInterrupt
        finally:
            raise failure

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", interrupted)
    assert main(["train", *words]) == 130
    assert capsys.readouterr().err == "normexp: interrupted\n"
