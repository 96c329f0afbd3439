"""CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 color images of 32x32 pixels in 100 classes, in torchvision's layout."""

from pathlib import Path

from normexp.data.base import Arrays, DataSet
from normexp.data.cifar10 import Cifar10Config, load_pickles
from normexp.data.download import fetch

# Number of images and md5 of each file as published (listed in torchvision.datasets.CIFAR100).
FILES = {
    "train": (50_000, "16019d7e3df5f24257cddd939b257f8d"),
    "test": (10_000, "f0ef6b0ae62326f3e7ffdfab6717acfc"),
}
FOLDER = "cifar-100-python"

CLASS_NAMES = (
    *("apple", "aquarium_fish", "baby", "bear", "beaver"),
    *("bed", "bee", "beetle", "bicycle", "bottle"),
    *("bowl", "boy", "bridge", "bus", "butterfly"),
    *("camel", "can", "castle", "caterpillar", "cattle"),
    *("chair", "chimpanzee", "clock", "cloud", "cockroach"),
    *("couch", "crab", "crocodile", "cup", "dinosaur"),
    *("dolphin", "elephant", "flatfish", "forest", "fox"),
    *("girl", "hamster", "house", "kangaroo", "keyboard"),
    *("lamp", "lawn_mower", "leopard", "lion", "lizard"),
    *("lobster", "man", "maple_tree", "motorcycle", "mountain"),
    *("mouse", "mushroom", "oak_tree", "orange", "orchid"),
    *("otter", "palm_tree", "pear", "pickup_truck", "pine_tree"),
    *("plain", "plate", "poppy", "porcupine", "possum"),
    *("rabbit", "raccoon", "ray", "road", "rocket"),
    *("rose", "sea", "seal", "shark", "shrew"),
    *("skunk", "skyscraper", "snail", "snake", "spider"),
    *("squirrel", "streetcar", "sunflower", "sweet_pepper", "table"),
    *("tank", "telephone", "television", "tiger", "tractor"),
    *("train", "trout", "tulip", "turtle", "wardrobe"),
    *("whale", "willow_tree", "wolf", "woman", "worm"),
)
"""Names of the fine labels 0 to 99, as in the file `meta`."""


def load(config: Cifar10Config, folder: Path) -> Arrays:
    fetch("CIFAR100", folder, files=[folder / FOLDER / file for file in FILES])
    return load_pickles(
        folder, FOLDER, FILES, name="CIFAR100", labels="fine_labels", classes=len(CLASS_NAMES), verify=config.verify
    )


ENTRY = DataSet(
    name="cifar100",
    title="CIFAR-100",
    config=Cifar10Config,
    shape=(3, 32, 32),
    classes=len(CLASS_NAMES),
    train_samples=50_000,
    test_samples=10_000,
    epochs=10,
    pad=4,
    class_names=CLASS_NAMES,
    load=load,
)
