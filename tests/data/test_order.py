"""The order of the training samples."""

import torch

from normexp.data.batches import BatchSampler
from normexp.training.build import build
from tests.conftest import compose


def test_sorted_batches_have_the_same_samples_by_class():
    labels = torch.randint(10, (1000,), generator=torch.Generator().manual_seed(0))
    options = {"samples": 1000, "batch_size": 96, "seed": 3, "device": torch.device("cpu")}
    plain, by_class = BatchSampler(**options), BatchSampler(**options, sort_by=labels)
    for _ in range(25):  # two epochs and a half
        one, two = next(plain), next(by_class)
        assert one.sort().values.equal(two.sort().values)
        assert (labels[two].diff() >= 0).all()
        assert (labels[one].diff() < 0).any()
    resumed = BatchSampler(**options, sort_by=labels)
    resumed.load_state_dict(by_class.state_dict())
    assert next(resumed).equal(next(by_class))


def test_a_run_with_sorted_batches():
    parts = build(compose("sort_batches=true", "norm.ghost_batch=16", "probe=off"))
    _, labels = parts.data.train.batch(next(parts.order))
    assert len(labels) == 64
    assert max(len(chunk.unique()) for chunk in labels.split(16)) <= 6
    assert (labels.diff() >= 0).all()
