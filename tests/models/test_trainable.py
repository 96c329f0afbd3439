"""trainable: which parameters are trained."""

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from normexp.models.describe import describe
from normexp.models.layer import named_layers
from normexp.training.build import build
from tests.conftest import compose
from tests.training.short import SMALL, train_and_record

ONE_STEP = ["steps=1", "schedule=constant", "lr=0.1", "norm=ln"]
MODELS = {
    "mlp": ["model=mlp", "norm.position=input"],
    "resnet": ["model=resnet", "model.depth=8", "model.width=4"],
    "vit": ["model=vit", "norm.qk=true"],
    "weight norm": ["model=cnn", "weight=weight_norm"],
    "lstm": ["model=rnn", "model.hidden=8", "model.norm_at=sum"],
}


def test_one_step_by_hand():
    """Gradient descent on the entries that are trained; the metrics and the clipping see no others."""
    before = build(compose(*SMALL, *ONE_STEP))
    inputs, labels = before.data.train.batch(next(before.order))
    F.cross_entropy(before.model(inputs), labels).backward()
    norms = {name: p for name, p in before.model.named_parameters() if ".norm." in name}
    length = torch.stack([p.grad.norm() for p in norms.values()]).norm()
    records, after, _ = train_and_record(*ONE_STEP, "trainable=norm", "log_every=1", f"grad_clip={length / 2:.6f}")
    updated = dict(after.model.named_parameters())
    for name, parameter in before.model.named_parameters():
        if name in norms:
            torch.testing.assert_close(updated[name], parameter - 0.1 * parameter.grad / 2, rtol=1e-4, atol=1e-7)
            assert not torch.equal(updated[name], parameter)
        else:
            assert torch.equal(updated[name], parameter), name
    logged = next(record for record in records if "grad_norm/total" in record.scalars)
    assert logged.scalars["grad_norm/total"] == pytest.approx(float(length), rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("trainable", ["norm", "random"])
def test_as_many_entries_as_the_norms_have(model, trainable):
    config = compose("data=digits", *MODELS[model], *ONE_STEP, f"trainable={trainable}")
    parts = build(config)
    inputs, labels = parts.data.train.batch(next(parts.order))
    F.cross_entropy(parts.model(inputs + torch.randn_like(inputs)), labels).backward()
    moved = {name: int((p.grad != 0).sum()) for name, p in parts.model.named_parameters()}
    assert sum(moved.values()) > 0.9 * sum(row.norm_parameters for row in describe(config))  # gradients may be 0
    assert sum(moved.values()) <= sum(row.norm_parameters for row in describe(config))
    assert not any(n for name, n in moved.items() if name.endswith("original0"))  # weight norm's lengths
    assert all((".norm." in name) == (trainable == "norm") for name, n in moved.items() if n)


def chosen(seed):
    """Which weights of each layer are trained, as masks; by the gradient of their sum."""
    parts = build(compose("model=mlp", "model.widths=[12,16]", "trainable=random", f"seed={seed}", "probe=off"))
    weights = {name: layer.weight.weight for name, layer in named_layers(parts.model).items()}
    sum(weight.sum() for weight in weights.values()).backward()
    return {name: weight.grad.bool().flatten() for name, weight in weights.items()}


def test_random_weights_are_uniform_and_unrelated():
    drawn = [chosen(seed) for seed in range(60)]
    first, second = (torch.stack([masks[name] for masks in drawn]).double() for name in ("fc1", "fc2"))
    assert (first.sum(1) == 2 * 12).all()
    assert (second.sum(1) == 2 * 16).all()
    assert not any(masks["head"].any() for masks in drawn)
    for masks in (first, second):
        seeds, weights = masks.shape
        share = masks.mean().item()
        # Counts of each weight over the seeds are binomial; a draw without replacement makes the sum of squares slightly smaller.
        chi2 = ((masks.sum(0) - seeds * share) ** 2 / (seeds * share * (1 - share))).sum().item()
        assert 1e-4 < stats.chi2(weights - 1).cdf(chi2) < 1 - 1e-4
    size = second.shape[1]
    both = (first[:, :size] * second).sum().item()  # entries at the same index of both layers
    expected = 60 * size * first.mean().item() * second.mean().item()
    assert abs(both - expected) < 5 * expected**0.5
