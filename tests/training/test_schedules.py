"""Schedules against torch's, which are written as recurrences or in closed form."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from normexp.training.schedules import lr_factor
from tests.conftest import compose

STEPS = 40


def ours(*overrides: str) -> list[float]:
    config = compose(*overrides).schedule
    return [lr_factor(config, step, STEPS) for step in range(STEPS)]


def theirs(make) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, factors = make(optimizer), []
    for _ in range(STEPS):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def test_cosine():
    assert ours("schedule=cosine") == pytest.approx(theirs(lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS)))


def test_step():
    want = theirs(lambda o: lr_scheduler.MultiStepLR(o, [20, 30], 0.1))
    assert ours("schedule=step") == pytest.approx(want)


def test_onecycle_starts_peaks_and_ends_where_it_says():
    factors = ours("schedule=onecycle")
    assert factors[0] == pytest.approx(0.04)
    assert max(factors) == factors[12] == 1.0
    assert factors[:12] == sorted(factors[:12])
    assert factors[12:] == sorted(factors[12:], reverse=True)
    assert factors[-1] < 0.01


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_warm_up_is_linear_and_meets_the_schedule(schedule):
    factors = ours(f"schedule={schedule}", "schedule.warmup=0.25")
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == pytest.approx(1.0)
    if schedule == "constant":
        assert set(factors[10:]) == {1.0}
    if schedule == "cosine":
        assert factors[25] == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


def test_final_share():
    assert ours("schedule=cosine", "schedule.final=0.5")[-1] == pytest.approx(0.5, abs=0.01)
