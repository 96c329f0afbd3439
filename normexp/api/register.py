"""normexp.register: norms, models, data sets and probes that are defined in a notebook or script."""

import dataclasses
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp import probes, rundir
from normexp.compose.choices import CHOICES, add_choice
from normexp.config import Config, ConfigError, DataConfig, ModelConfig, NormConfig, show, yaml_files
from normexp.data import DATA
from normexp.data.base import DataSet
from normexp.models import MODELS
from normexp.models.base import Model
from normexp.norms import NORMS
from normexp.norms.base import Norm

if TYPE_CHECKING:
    from normexp.probes.base import Probe

KINDS: dict[str, tuple[dict[str, Any], Any, Any, str | None]] = {
    "norm": (NORMS, Norm, NormConfig, "ln"),
    "model": (MODELS, Model, ModelConfig, None),
    "data": (DATA, DataSet, DataConfig, "digits"),
}
"""The registry of each group, the type of its entries and of their configs, and the choice with the defaults of the keys that all
choices of the group have."""

_names: set[tuple[str, str]] = set()


def register(
    *,
    norm: Norm | None = None,
    model: Model | None = None,
    data: DataSet | None = None,
    probe: "type[Probe] | None" = None,
) -> None:
    """Add a component of your own until Python ends: `norm=NAME` then works in `normexp.train` and `normexp.build`.

    norm, model, data: an entry, as in the files of normexp/norms, normexp/models and normexp/data. Each key of its config class
    needs a default (`number(default=...)`); keys that all choices have, such as `norm.eps`, have the usual one. probe: a subclass
    of normexp.probes.base.Probe. Its switch is its name in lower case, `probe.my_probe` for MyProbe, and on by default.

    Registering a name again replaces the component. Raises ConfigError for a name that normexp itself has, and for an unsuitable
    entry. Other processes don't know the component: sweeps and `normexp resume` refuse it, reports show its runs.
    """
    entries = {"norm": norm, "model": model, "data": data}
    texts = {group: _checked(group, entry) for group, entry in entries.items() if entry is not None}
    if probe is not None:
        _check_probe(probe)
    for group, text in texts.items():
        entry: Any = entries[group]
        _write(group, entry.name, text)
        _names.add((group, entry.name))
        KINDS[group][0][entry.name] = entry
        add_choice(group, entry.name, entry.config)
    if probe is not None:
        _add_probe(probe)


def registered_in(config: Config) -> Iterator[str]:
    """Registered choices of a config, such as norm=center."""
    for group, name in sorted(_names):
        if getattr(config, group).name == name:
            yield f"{group}={name}"


def _checked(group: str, entry: Any) -> str:
    """The yaml file of an entry. Raises ConfigError if the entry is unsuitable."""
    registry, kind, base, template = KINDS[group]
    if not isinstance(entry, kind):
        raise ConfigError(
            f"register({group}=...) needs a {kind.__module__}.{kind.__name__}, not {show(type(entry).__name__)}."
        )
    name = entry.name
    _check_name(group, name, taken=name in registry and (group, name) not in _names)
    config = entry.config
    if not (isinstance(config, type) and issubclass(config, base)):
        raise ConfigError(f"{group}={name}: its config must be a dataclass that inherits from {base.__name__}.")
    shared = yaml_files.choice(group, template) if template else {}
    keys = {}
    for field in dataclasses.fields(config):
        if field.name == "name":
            keys["name"] = name
        elif field.default is not dataclasses.MISSING:
            keys[field.name] = list(field.default) if isinstance(field.default, tuple) else field.default
        elif field.name in shared:
            keys[field.name] = shared[field.name]
        else:
            raise ConfigError(f"{group}.{field.name} of {group}={name} needs a default, as in number(default=1).")
    return rundir.to_yaml(keys)


def _check_name(group: str, name: object, *, taken: bool) -> None:
    if not (isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name)):
        raise ConfigError(
            f"{group}={show(name)}: a name has lower-case letters, digits and _, and begins with a letter."
        )
    if taken:
        raise ConfigError(f"{group}={name} exists already: choose another name.")


def _check_probe(probe: object) -> None:
    from normexp.probes.base import Probe

    if not (isinstance(probe, type) and issubclass(probe, Probe)):
        raise ConfigError(f"register(probe=...) needs a subclass of normexp.probes.base.Probe, not {show(probe)}.")
    name = _probe_name(probe)
    fields = {field.name for field in dataclasses.fields(CHOICES["probe"]["default"])}
    _check_name("probe", name, taken=name in fields and ("probe", name) not in _names)


def _probe_name(probe: type) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", probe.__name__).lower()


def _add_probe(probe: "type[Probe]") -> None:
    name = _probe_name(probe)
    probes.register(name, probe)
    _names.add(("probe", name))
    own = [own_name for group, own_name in sorted(_names) if group == "probe"]
    for choice, on in (("default", True), ("off", False)):
        text = (yaml_files.folder() / "probe" / f"{choice}.yaml").read_text(encoding="utf-8")
        _write("probe", choice, text + rundir.to_yaml(dict.fromkeys(own, on)))
    switches = probes.switches()
    for choice in CHOICES["probe"]:
        add_choice("probe", choice, switches)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """The folder with the yaml files of registered components, which is deleted when Python ends."""
    folder = tempfile.TemporaryDirectory(prefix="normexp-")
    yaml_files.register(Path(folder.name))
    return folder


def _write(group: str, name: str, text: str) -> None:
    path = Path(_folder().name, group, f"{name}.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
