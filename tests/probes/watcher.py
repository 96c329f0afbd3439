"""Training steps with probes, outside of the training loop."""

import pytest
import torch
from torch.nn import functional as F

from normexp.models.layer import named_layers
from normexp.probes.base import Step
from normexp.probes.runner import Probes

ALL = [
    "probe.landscape=true",
    "probe.noise=true",
    "probe.jumps=true",
    "probe.linearity=true",
    "probe.samples=100000000",  # all values
]


class Watcher:
    """A network with probes; each call is a step of plain SGD."""

    def __init__(self, model, config, *, lr=0.1, total=1000):
        self.model, self.lr, self.total = model.train(), lr, total
        self.probes = Probes(named_layers(model), config.probe, seed=config.seed)
        self.step = 0

    def __call__(self, inputs, labels):
        """Measurements of a step. None if no probe was due."""
        self.step += 1
        snapshot = self.probes.snapshot(Step(self.step, self.total, self.model, inputs, labels, self.lr))
        if snapshot is None:
            self._train(self.model(inputs), labels, None)
            return None
        with snapshot:
            logits = self.model(inputs)
        self._train(logits, labels, snapshot)
        return snapshot.measurements()

    def _train(self, logits, labels, snapshot):
        self.model.zero_grad()
        F.cross_entropy(logits, labels).backward()
        if snapshot:
            snapshot.after_backward()
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(self.lr * parameter.grad)
        if snapshot:
            snapshot.after_update()


def images(count=32, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 1, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(10, (count,), generator=generator)


def close(value, **tolerance):
    return pytest.approx(torch.as_tensor(value).item(), **({"rel": 1e-5, "abs": 1e-9} | tolerance))
