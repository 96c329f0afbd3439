"""Fashion-MNIST (Xiao et al. 2017): pictures of clothes, in MNIST's sizes and format."""

from dataclasses import replace
from functools import partial

from normexp.data import mnist

ENTRY = replace(
    mnist.ENTRY,
    name="fashion_mnist",
    title="Fashion-MNIST",
    epochs=5,
    load=partial(mnist.load, name="FashionMNIST", verify=False),
)
