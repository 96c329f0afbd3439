"""normexp.register: norms, models, data sets and probes that are defined in a notebook or script."""

import dataclasses
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp import probes, rundir
from normexp.compose.choices import CHOICES, REGISTRIES, refresh
from normexp.config import Config, ConfigError, yaml_files
from normexp.config.installed import check_name, label
from normexp.config.reader import literal_values, register_activation
from normexp.config.schema import ActivationName
from normexp.data.base import DataSet
from normexp.models.activations import ACTIVATIONS, Activation, check_activation
from normexp.models.base import Model
from normexp.norms.base import Norm

if TYPE_CHECKING:
    from normexp.probes.base import Probe

TEMPLATES = {"norm": "ln", "data": "digits"}
"""The choice with the defaults of the keys that all choices of a group have."""

_names: set[tuple[str, str]] = set()


def register(
    *,
    norm: Norm | None = None,
    model: Model | None = None,
    data: DataSet | None = None,
    activation: Activation | None = None,
    probe: "type[Probe] | None" = None,
) -> None:
    """Add a component of your own until Python ends: `norm=NAME` then works in `normexp.train` and `normexp.build`.

    norm, model, data: an entry, as in the files of normexp/norms, normexp/models and normexp/data. Each key of its config class
    needs a default (`number(default=...)`); keys that all choices have, such as `norm.eps`, have the usual one. activation: a
    normexp.models.activations.Activation. probe: a subclass
    of normexp.probes.base.Probe. Its switch is its name in lower case, `probe.my_probe` for MyProbe, and on by default.

    Registering a name again replaces the component. Raises ConfigError for a name that normexp or an installed package has, and
    for an unsuitable entry. Other processes don't know the component: sweeps and `normexp resume` refuse it, reports show its
    runs.
    """
    given: dict[str, Norm | Model | DataSet | None] = {"norm": norm, "model": model, "data": data}
    entries = {group: entry for group, entry in given.items() if entry is not None}
    texts = {group: _checked(group, entry) for group, entry in entries.items()}
    if activation is not None:
        check_activation(activation, "register(activation=...)")
        _check_free("activation", activation.name, taken=activation.name in literal_values(ActivationName))
    if probe is not None:
        _check_probe(probe)
    for group, text in texts.items():
        entry = entries[group]
        path = Path(_folder().name, group, f"{entry.name}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        _names.add((group, entry.name))
        REGISTRIES[group].loaded[entry.name] = entry
    if activation is not None:
        ACTIVATIONS[activation.name] = activation
        register_activation(activation.name)
        _names.add(("activation", activation.name))
    if probe is not None:
        name = _probe_name(probe)
        probes.register(name, probe)
        yaml_files.register_switch(name)
        _names.add(("probe", name))
    refresh()


def registered_in(config: Config) -> Iterator[str]:
    """Registered choices of a config, such as norm=center."""
    for group, name in sorted(_names):
        chosen = getattr(config, group)
        if (chosen if group == "activation" else chosen.name) == name:
            yield f"{group}={name}"


def _checked(group: str, entry: Norm | Model | DataSet) -> str:
    """The yaml file of an entry. Raises ConfigError if the entry is unsuitable."""
    REGISTRIES[group].check(entry, f"register({group}=...)")
    _check_free(group, entry.name, taken=entry.name in REGISTRIES[group])
    shared = yaml_files.choice(group, TEMPLATES[group]) if group in TEMPLATES else {}
    keys: dict[str, Any] = {}
    for field in dataclasses.fields(entry.config):
        if field.name == "name":
            keys["name"] = entry.name
        elif field.default is not dataclasses.MISSING:
            keys[field.name] = list(field.default) if isinstance(field.default, tuple) else field.default
        elif field.name in shared:
            keys[field.name] = shared[field.name]
        else:
            raise ConfigError(f"{group}.{field.name} of {group}={entry.name} needs a default, as in number(default=1).")
    return rundir.to_yaml(keys)


def _check_free(group: str, name: str, *, taken: bool) -> None:
    if taken and (group, name) not in _names:
        raise ConfigError(f"{label(group, name)} exists already: choose another name.")


def _check_probe(probe: object) -> None:
    probes.check(probe, "register(probe=...)")
    assert isinstance(probe, type)
    name = _probe_name(probe)
    check_name(name, "register(probe=...)")
    fields = {field.name for field in dataclasses.fields(CHOICES["probe"]["default"])}
    _check_free("probe", name, taken=name in fields)


def _probe_name(probe: type) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", probe.__name__).lower()


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """The folder with the yaml files of registered components, which is deleted when Python ends."""
    folder = tempfile.TemporaryDirectory(prefix="normexp-")
    yaml_files.register(Path(folder.name))
    return folder
