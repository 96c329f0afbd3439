"""Every model x norm x position x weight, in float32 and with amp: one training step."""

from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.nn import functional as F

from normexp.models.build import build_model
from normexp.weights import WEIGHTS
from tests.conftest import compose
from tests.models.test_models import GRID, config_of, images

pytestmark = pytest.mark.long


@cache
def weight_config(weight):
    return compose(f"weight={weight}").weight


@pytest.mark.parametrize(("model", "norm", "position"), GRID)
def test_trains_with_each_weight_and_with_amp(model, norm, position):
    plain = config_of(model, norm, position)
    inputs, labels = images(plain, 8), torch.arange(8)
    for weight in WEIGHTS:
        losses = []
        for amp in (None, "bf16"):
            net = build_model(replace(plain, weight=weight_config(weight), amp=amp))
            with torch.autocast("cpu", torch.bfloat16) if amp else nullcontext():
                loss = F.cross_entropy(net(inputs), labels)
            loss.backward()
            losses.append(float(loss.detach()))
            for name, parameter in net.named_parameters():
                assert parameter.dtype == torch.float32
                assert torch.isfinite(parameter.grad).all(), (weight, amp, name)
            assert any(p.grad.any() for p in net.parameters())
        assert losses[0] == pytest.approx(losses[1], rel=0.1, abs=0.1), weight
