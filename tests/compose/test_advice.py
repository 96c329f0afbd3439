"""Every model x norm x position x data x small batch that is refused: the error names the layer, and what it advises works."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product

import pytest

from normexp.compose.validate import validate
from normexp.config import Config, ConfigError
from normexp.config.reader import as_tree
from normexp.data import info
from normexp.models import MODELS
from normexp.norms import NORMS
from tests.conftest import compose

BATCHES = ((64, 1), (1, 1), (2, 2), (4, 2), (6, 3))
"""batch_size and accumulate."""

SUBJECT = re.compile(r"norm=\w+ can't work in layer [\w.]+|[\w.]+=\w+: model=|model=\w+ needs images|model\.input=")
"""What an error is about: the layer, or the key."""


@cache
def part(group: str, name: str, *more: str):
    """The config of a choice, with its defaults."""
    return getattr(compose(f"{group}={name}", *more), group)


def combinations(data: str) -> Iterator[Config]:
    base = compose(f"data={data}", "model=mlp")
    for model, norm, position, (batch_size, accumulate) in product(MODELS, NORMS, ("pre", "post", "input"), BATCHES):
        chosen = part("model", model), replace(part("norm", norm), position=position)
        yield replace(base, model=chosen[0], norm=chosen[1], batch_size=batch_size, accumulate=accumulate)


def problem(config: Config) -> str | None:
    try:
        validate(as_tree(config))
    except ConfigError as error:
        return str(error)
    return None


def advised(config: Config, message: str) -> list[Config]:
    """The configs that a message advises, one for each way that it names."""
    advice = re.split(r"\. (?=Use |norm\.)", message)[-1]
    changed: list[Config] = []
    if found := re.fullmatch(r"Use (?:batch_size=(\d+) or more|(batch_size|accumulate)=(\d+))(.*)\.", advice):
        changed = [replace(config, **{found[2] or "batch_size": int(found[1] or found[3])})]
        if "group_size=1" in found[4]:
            changed = [replace(each, norm=replace(each.norm, group_size=1)) for each in changed]
    elif found := re.fullmatch(r"norm\.(group\w+) can be ([\d, and]+) here\.", advice):
        changed = [
            replace(config, norm=replace(config.norm, **{found[1]: int(n)})) for n in re.findall(r"\d+", found[2])
        ]
    elif advice.startswith("Use norm.position=pre"):
        blocks = re.findall(r"\b(pre|post|sandwich)\b", advice.partition("model.block=")[2])
        moved = replace(config, norm=replace(config.norm, position="pre"))
        changed = [replace(moved, model=replace(moved.model, block=block)) for block in blocks] or [moved]
    elif advice.startswith("Use model.input=pixels"):
        changed = [replace(config, model=replace(config.model, input="pixels"))]
    else:
        changed = [replace(config, norm=part("norm", name)) for name in re.findall(r"norm=(\w+)", advice)]
        if "mlp" in advice:
            changed += [replace(config, model=part("model", "mlp"))]
            changed += [replace(config, model=part("model", "rnn", "model.input=pixels"))]
        elif len(info(config.data).shape) == 3:
            models = re.findall(r"\b(cnn|vgg|resnet|vit)\b", advice)
            changed += [replace(config, model=part("model", name)) for name in models]
    assert changed, message
    return changed


@pytest.mark.parametrize("data", ["digits", pytest.param("mnist", marks=pytest.mark.long), "mnist1d"])
def test_what_an_error_advises_works(data):
    """Where several things are wrong, an error is about the first of them; following it leaves the others."""
    first: dict[str, Config] = {}
    for config in combinations(data):
        if message := problem(config):
            first.setdefault(message, config)
    assert len(first) > 10
    for message, config in first.items():
        about = SUBJECT.match(message)
        assert about and len(message) < 300, message
        for step in advised(config, message):
            left = problem(step)
            assert left is None or SUBJECT.match(left)[0] != about[0], (message, left)


@pytest.mark.parametrize("stride", [61, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("data", ["digits", "mnist1d"])
def test_what_is_accepted_trains(data, stride):
    """One step of the smallest batch, and an evaluation."""
    import torch
    from torch.nn import functional as F

    from normexp.models.build import build_model

    accepted = [config for config in combinations(data) if problem(config) is None]
    assert len(accepted) > 100
    for config in accepted[::stride]:
        net, size = build_model(config), config.micro_batch_size
        inputs = torch.randn(size, *info(config.data).shape, generator=torch.Generator().manual_seed(1))
        F.cross_entropy(net(inputs), torch.arange(size) % 10).backward()
        for name, parameter in net.named_parameters():
            assert torch.isfinite(parameter.grad).all(), (config.model.name, config.norm, name)
        assert torch.isfinite(net.eval()(inputs)).all()
