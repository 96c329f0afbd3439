"""Models, one file each, named as in configs/model/."""

from normexp.config import Config, ModelConfig
from normexp.data import info
from normexp.models.base import LayerPlan, Model, Planner
from normexp.registry import Registry, collect

ORDER = ("mlp", "cnn", "resnet", "vgg", "vit", "rnn")

MODELS = Registry("model", collect(__name__, __path__, Model, order=ORDER), Model, ModelConfig)


def layers(config: Config) -> list[LayerPlan]:
    """Plan the layers of a config's network, in the order in which they compute. Raises ConfigError if its values don't fit."""
    data = info(config.data)
    return MODELS[config.model.name].layers(config.model, Planner(config), data.shape, data.classes)
