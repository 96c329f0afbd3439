"""One step under the eyes of probes, outside of the training loop."""

import pytest
import torch
from torch.nn import functional as F

from normexp.models.layer import named_layers
from normexp.probes.recorder import Probes, Step

ALL = [
    "probe.landscape=true",
    "probe.noise=true",
    "probe.jumps=true",
    "probe.samples=100000000",  # all values
]


class Watcher:
    """A network under probes, trained by plain SGD with a step for each call."""

    def __init__(self, model, config, *, lr=0.1, total=1000):
        self.model, self.lr, self.total = model.train(), lr, total
        self.probes = Probes(named_layers(model), config.probe, seed=config.seed)
        self.step = 0

    def __call__(self, inputs, labels):
        """The findings of a step; None where no probe was due."""
        self.step += 1
        look = self.probes.look(Step(self.step, self.total, self.model, inputs, labels, self.lr))
        if look is None:
            self._train(self.model(inputs), labels, None)
            return None
        with look:
            logits = self.model(inputs)
        self._train(logits, labels, look)
        return look.findings()

    def _train(self, logits, labels, look):
        self.model.zero_grad()
        F.cross_entropy(logits, labels).backward()
        if look:
            look.gradients()
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(self.lr * parameter.grad)
        if look:
            look.updated()


def images(count=32, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 1, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(10, (count,), generator=generator)


def close(value, **tolerance):
    return pytest.approx(torch.as_tensor(value).item(), **({"rel": 1e-5, "abs": 1e-9} | tolerance))
