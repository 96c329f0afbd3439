"""What a config may choose from: for each group, the dataclass of each choice; and all keys that follow from it."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from normexp.config import GROUPS, NOT_OF_THE_RESULT, Config, show
from normexp.data import DATA
from normexp.models import MODELS
from normexp.models.init import INITS
from normexp.norms import NORMS
from normexp.optim.optimizers import OPTIMIZERS
from normexp.optim.schedules import SCHEDULES
from normexp.probes import Switches
from normexp.records import Hyperparameter

CHOICES: dict[str, dict[str, type]] = {
    "model": {name: entry.config for name, entry in MODELS.items()},
    "norm": {name: entry.config for name, entry in NORMS.items()},
    "init": {name: cls for name, (cls, _) in INITS.items()},
    "data": {name: entry.config for name, entry in DATA.items()},
    "optim": {name: cls for name, (cls, _) in OPTIMIZERS.items()},
    "schedule": {name: cls for name, (cls, _) in SCHEDULES.items()},
    "probe": dict.fromkeys(("default", "off", "full", "landscape"), Switches),
}

NOT_OF_THE_EXPERIMENT = {"probe", "log_every", "eval_every", *NOT_OF_THE_RESULT}
"""Keys that say where, on what and how closely, not what is trained."""


def hyperparameters(config: Config) -> dict[str, Hyperparameter]:
    """Every key that any config can have, in the order of the config; a group stands under its own name, with its choice."""
    found: dict[str, Hyperparameter] = {}
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if field.name in NOT_OF_THE_EXPERIMENT:
            continue
        if field.name not in GROUPS:
            found[field.name] = _hyperparameter(get_type_hints(Config)[field.name], value)
            continue
        found[field.name] = Hyperparameter(str, value.name)
        for cls in CHOICES[field.name].values():
            hints = get_type_hints(cls)
            for name in (each.name for each in dataclasses.fields(cls) if each.name != "name"):
                found[f"{field.name}.{name}"] = _hyperparameter(hints[name], getattr(value, name, None))
    return found


def _hyperparameter(hint: Any, value: Any) -> Hyperparameter:
    if get_origin(hint) in (types.UnionType, Union):
        (hint,) = (each for each in get_args(hint) if each is not types.NoneType)
    if value is None:
        return Hyperparameter(bool if hint is bool else float if hint in (int, float) else str, None)
    if hint is bool:
        return Hyperparameter(bool, bool(value))
    return Hyperparameter(float, float(value)) if hint in (int, float) else Hyperparameter(str, show(value))
