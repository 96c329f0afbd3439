"""x / (1 + |x|)."""

from normexp.models.activations import Activation


def build(site):
    from torch import nn

    return nn.Softsign()


ENTRY = Activation(name="softsign", build=build, gain=1.6)
