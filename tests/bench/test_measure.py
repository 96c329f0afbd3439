"""Measuring networks so small that the numbers can be derived by hand."""

import pytest
import torch
from torch import nn

from normexp.bench import measure as module
from normexp.bench.cases import Case
from normexp.bench.measure import Batch, count_blocks, measure, saved_bytes
from tests.conftest import compose

FLOAT, LONG = 4, 8


def batch(*shape: int) -> Batch:
    return Batch(torch.randn(*shape), torch.zeros(shape[0], dtype=torch.long))


def test_memory_kept_for_the_backward_pass():
    """The loss keeps the logarithm of the softmax (B, 3) and the sum of the labels' weights; a linear layer its input, which is
    the network's or another's output; relu its output; batch norm its input, and a mean and 1/std for each feature."""
    b, f, classes = 6, 5, 3
    loss = (b * classes + 1) * FLOAT
    linear, head = nn.Linear(7, f), nn.Linear(f, classes)
    inputs = batch(b, 7)
    assert saved_bytes(nn.Sequential(linear, head), inputs) == b * f * FLOAT + loss
    # What relu keeps is what the head keeps: one storage, counted once.
    assert saved_bytes(nn.Sequential(linear, nn.ReLU(), head), inputs) == b * f * FLOAT + loss
    normed = nn.Sequential(linear, nn.BatchNorm1d(f), nn.ReLU(), head)
    extra = saved_bytes(normed, inputs) - (b * f * FLOAT + loss)
    assert b * f * FLOAT + 2 * f * FLOAT <= extra <= b * f * FLOAT + 2 * f * FLOAT + 64  # and an empty reserve
    assert saved_bytes(normed, inputs) == saved_bytes(normed, inputs)


@pytest.fixture
def case(monkeypatch):
    monkeypatch.setattr(module, "MIN_BLOCK_SECONDS", 1e-4)
    overrides = ["model=mlp", "model.width=4", "batch_size=4", "threads=1"]
    norms = {norm: compose(*overrides, f"norm={norm}") for norm in ("none", "bn", "ln")}
    return Case("mlp", "digits", 4, norms)


def test_every_norm_is_measured_once_a_round_in_changing_order(case, monkeypatch):
    order = []
    real = module.training_block

    def note(network, batch, steps):
        order.append(id(network))
        return real(network, batch, steps)

    ticks = []
    monkeypatch.setattr(module, "training_block", note)
    result = measure(case, repeats=6, tick=lambda: ticks.append(1))
    rounds = [tuple(order[-18:][i : i + 3]) for i in range(0, 18, 3)]
    assert all(len(set(order)) == 3 for order in rounds)
    assert len(set(rounds)) > 1
    assert len(ticks) == count_blocks(case, 6) == 6 * 7
    for norm, costs in result.costs.items():
        counts = {phase: len(seconds) for phase, seconds in costs.seconds.items()}
        assert counts == {"forward": 6, "backward": 6, "inference": 6, "folded": 6 if norm == "bn" else 0}
        assert all(second > 0 for seconds in costs.seconds.values() for second in seconds)
    assert [result.costs[norm].folded_norms for norm in case.norms] == [0, 3, 0]
    added = [costs.parameters - result.costs["none"].parameters for costs in result.costs.values()]
    assert added == [0, 3 * 4, 3 * 8]  # gamma and beta; with batch norm there is no bias


@pytest.mark.long
def test_what_is_the_same_every_time(case):
    once, again = measure(case, repeats=2), measure(case, repeats=2)
    assert once.threads == 1
    for norm in case.norms:
        assert once.costs[norm].saved_bytes == again.costs[norm].saved_bytes
    assert once.memory("bn") > 1.5
    assert once.memory("none") == 1


def test_no_gradients_and_no_graph_in_inference():
    seen = []
    network = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    network.register_forward_hook(lambda module, inputs, output: seen.append((module.training, output.is_inference())))
    module.inference_block(network, batch(4, 3), 2)
    assert seen == [(False, True)] * 2
