"""Models, one file each, named as in configs/model/."""

from normexp.config import Config
from normexp.data import info
from normexp.models.base import LayerPlan, Model, Planner
from normexp.registry import collect

MODELS: dict[str, Model] = collect(__name__, __path__, Model, order=("mlp", "cnn", "resnet", "vgg", "vit", "rnn"))


def layers(config: Config) -> list[LayerPlan]:
    """Plan the layers of a config's network, in the order in which they compute. Raises ConfigError if its values don't fit."""
    data = info(config.data)
    return MODELS[config.model.name].layers(config.model, Planner(config), data.shape, data.classes)
