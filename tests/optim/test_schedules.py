"""Schedules against torch's own, for runs of any length."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from normexp.config import ScheduleConfig
from normexp.optim.schedules import Cosine, OneCycle, Step, lr_factor

LENGTHS = st.integers(1, 60)
SHARES = st.floats(0, 0.95)


def ours(config, total):
    return [lr_factor(config, step, total) for step in range(total)]


def theirs(total, make):
    """The learning rates of a torch scheduler, with lr=1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    scheduler, factors = make(optimizer), []
    for _ in range(total):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(factors) < total:  # onecycle refuses one more
            scheduler.step()
    return factors


def after_warm_up(warm, make):
    """The schedule of `make` after a linear warm-up with the factors 1/warm, ..., 1."""

    def both(optimizer):
        if not warm:
            return make(optimizer)
        linear = lr_scheduler.LinearLR(optimizer, 1 / warm, 1.0, total_iters=warm - 1) if warm > 1 else None
        linear = linear or lr_scheduler.ConstantLR(optimizer, 1.0, total_iters=1)
        return lr_scheduler.SequentialLR(optimizer, [linear, make(optimizer)], milestones=[warm])

    return both


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")  # torch's SequentialLR calls itself so
@given(LENGTHS, SHARES, st.floats(0, 1))
def test_cosine(total, warmup, final):
    warm = round(warmup * total)
    cosine = lambda o: lr_scheduler.CosineAnnealingLR(o, max(1, total - warm), eta_min=final)  # noqa: E731
    found = ours(Cosine(name="cosine", warmup=warmup, final=final), total)
    assert found == pytest.approx(theirs(total, after_warm_up(warm, cosine)), abs=1e-9)
    falling = found[max(0, warm - 1) :]
    assert falling == sorted(falling, reverse=True)
    assert all(0 <= factor <= 1 for factor in found)


@given(LENGTHS.filter(lambda total: total > 1), st.floats(0.01, 0.95), st.floats(0.001, 1), st.floats(0, 1))
def test_onecycle(total, warmup, start, final):
    if warmup * total == 1:  # torch divides by 0
        return
    config = OneCycle(name="onecycle", warmup=warmup, start=start, final=final)
    one_cycle = lambda o: lr_scheduler.OneCycleLR(  # noqa: E731
        o, 1.0, total_steps=total, pct_start=warmup, div_factor=1 / start, final_div_factor=start / max(final, 1e-9)
    )
    found = ours(config, total)
    assert found == pytest.approx(theirs(total, one_cycle), abs=1e-8)
    assert found[-1] == pytest.approx(final, abs=1e-12)


@given(LENGTHS, SHARES, st.sampled_from([[0.5, 0.75], [0.1], [0.3, 0.6, 0.9]]), st.floats(0.1, 1))
def test_step(total, warmup, milestones, gamma):
    """Milestones are fractions of the run; the warm-up has the factors 1/w, 2/w, ..., 1."""
    warm = round(warmup * total)
    steps = [math.ceil(round(share * total, 9)) for share in milestones]
    found = ours(Step(name="step", warmup=warmup, milestones=tuple(milestones), gamma=gamma), total)
    plain = theirs(total, lambda o: lr_scheduler.MultiStepLR(o, steps, gamma))
    assert found == pytest.approx([*((step + 1) / warm for step in range(warm)), *plain[warm:]])


@given(LENGTHS, SHARES)
def test_constant(total, warmup):
    warm = round(warmup * total)
    found = ours(ScheduleConfig(name="constant", warmup=warmup), total)
    assert found == pytest.approx([*((step + 1) / warm for step in range(warm)), *[1.0] * (total - warm)])


def test_warmup_continues_into_the_schedule():
    """Also with few steps, where rounding moves the end of the warm-up: 25 % of 10 steps are 2."""
    assert ours(Cosine(name="cosine", warmup=0.25, final=0.0), 10)[:4] == pytest.approx(
        [1 / 2, 1, 1, (1 + math.cos(math.pi / 8)) / 2]
    )
    assert ours(Step(name="step", warmup=0.25, milestones=(0.5,), gamma=0.1), 8) == pytest.approx(
        [1 / 2, 1, 1, 1, 0.1, 0.1, 0.1, 0.1]
    )


def test_defaults_are_those_of_torchs_onecycle():
    from tests.conftest import compose

    assert ours(compose("schedule=onecycle").schedule, 40) == pytest.approx(
        theirs(40, lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=40)), abs=1e-9
    )
