"""Claims from their files: configs/claim/NAME.yaml, and claim/NAME.yaml in a folder of the user's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from normexp import configs, untrusted
from normexp.claims import claim as schema
from normexp.claims.checks import check, check_sweep
from normexp.claims.claim import Claim, Condition, Measure, Scale, Sweep, Value
from normexp.config import ConfigError, nearest, show

MOST = 2**20
"""Bytes of a file."""

TOP = (
    *("kind", "statement", "source", "explanation", "cost", "seeds", "sweep", "rule", "requires", "combine"),
    *("quick", "full"),
)
CONDITION = (
    *("what", "measure", "at", "across", "below", "over", "take", "working", "choose", "compare", "as", "contrast"),
    *("with", "where", "is", "threshold", "margin", "refuted_beyond", "decides"),
)


RESERVED = ("all", "exact", "experiments")
"""What stands for several claims."""


def names(config_dir: Path | None = None) -> list[str]:
    """All claims there are: those that are brought along, and the user's own."""
    return configs.choices("claim", *([config_dir] if config_dir else []))


def path_of(name: str, config_dir: Path | None = None) -> Path:
    """The file of a claim. ConfigError, with the nearest name, where there is none."""
    for root in (configs.folder(), *([config_dir] if config_dir else [])):
        if name in configs.choices("claim", root) and (path := root / "claim" / f"{name}.yaml").is_file():
            return path
    own = "" if config_dir else " --config-dir DIR finds yours, in DIR/claim/NAME.yaml."
    hint = nearest(name, names(config_dir)) or f" normexp claims lists them.{own}"
    raise ConfigError(f"There is no claim {show(name)}.{hint}")


def read(name: str, config_dir: Path | None = None, *, scale: Scale = "small", quick: bool = False) -> Claim:
    """The claim of that name, for a scale. Raises ConfigError where there is none, or its file is not as it should be.

    quick: with what the file's `quick` says instead: fewer seeds, steps or values. full: the same for `full`.
    """
    path = path_of(name, config_dir)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in RESERVED:
        raise ConfigError(f"{show(path, 200)}: a claim's name has small letters, digits, - and _; rename the file.")
    own = config_dir / "claim" / f"{name}.yaml" if config_dir else path
    if own != path and own.exists():
        raise ConfigError(f"{show(own, 200)} has the name of a claim that normexp brings: rename it.")
    try:
        tree = _tree(path)
        _claim(name, tree, scale="full", quick=True)  # what is wrong is told before somebody asks for it
        return _claim(name, tree, scale=scale, quick=quick)
    except ConfigError as error:
        raise ConfigError(f"{show(path, 200)}: {error}") from error


def _tree(path: Path) -> Mapping[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        text = bytes(untrusted.read(path, most=MOST)).decode("utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ConfigError("it refers to parts of itself with *, which a claim can't.")
        tree = OmegaConf.to_container(OmegaConf.create(text)) if text.strip() else {}
    except (OSError, ValueError, RecursionError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"it can't be read ({show(str(error).splitlines()[0] if str(error) else error)}).") from error
    if not isinstance(tree, dict):
        raise ConfigError("it is not a list of keys and values.")
    return {str(key): value for key, value in tree.items()}


def _claim(name: str, tree: Mapping[str, Any], *, scale: Scale, quick: bool) -> Claim:
    _known(tree, TOP)
    # What a file says nothing about is the same for it.
    scale, quick = scale if "full" in tree else "small", quick and "quick" in tree
    kind = _one_of(tree, "kind", ("exact", "experiment"))
    exact = kind == "exact"
    if exact != ("sweep" not in tree):
        raise ConfigError("an exact claim has no sweep." if exact else "sweep is missing: an experiment has runs.")
    changes = [_mapping(tree, key) for key, asked in (("full", scale == "full"), ("quick", quick)) if asked]
    seeds = _list(tree, "seeds")
    for change in changes:
        _known(change, ("seeds", "base", "axes"))
        seeds = _list(change, "seeds") if "seeds" in change else seeds
    if not seeds or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={show(seeds)}: it must be a list of different whole numbers, such as [101,102,103].")
    sweep = None if exact else _sweep(_mapping(tree, "sweep"), changes)
    rule = tuple(_condition(each, i, "rule", sweep) for i, each in enumerate(_list(tree, "rule"), start=1))
    if not any(condition.decides for condition in rule):
        raise ConfigError("rule: it needs at least one condition that decides.")
    required = enumerate(_list(tree, "requires") if "requires" in tree else [], start=1)
    return Claim(
        name=name,
        kind=kind,
        statement=_text(tree, "statement"),
        source=_text(tree, "source"),
        explanation=_text(tree, "explanation") if "explanation" in tree else "",
        cost=_text(tree, "cost") if "cost" in tree else "",
        seeds=tuple(seeds),
        sweep=sweep,
        rule=rule,
        requires=tuple(_condition(each, i, "requires", sweep) for i, each in required),
        combine=_one_of(tree, "combine", ("all", "any")) if "combine" in tree else "all",
        scale=scale,
        quick=quick,
    )


def _sweep(tree: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> Sweep:
    _known(tree, ("base", "arms", "axes"), "sweep.")
    base = _overrides(tree.get("base", []), "sweep.base")
    arms = {name: _overrides(each, f"sweep.arms.{name}") for name, each in _mapping(tree, "arms").items()}
    axes = {name: _axis(name, each) for name, each in _mapping(tree, "axes").items()} if "axes" in tree else {}
    if not arms:
        raise ConfigError("sweep.arms: name at least one arm, with its overrides: {bn: [norm=bn]}.")
    for change in changes:
        more = _overrides(change.get("base", []), "base")
        chosen = tuple(f"{override.partition('=')[0]}." for override in more if "." not in override.partition("=")[0])
        base = tuple(each for each in base if not each.startswith(chosen or "\0")) + more
        for name, each in (_mapping(change, "axes") if "axes" in change else {}).items():
            if name not in axes:
                raise ConfigError(f"axes: there is no axis {show(name)} in sweep.axes.{nearest(name, axes)}")
            axes[name] = _axis(name, each)
    made = Sweep(base=base, arms=arms, axes=axes)
    check_sweep(made)
    return made


def _axis(name: str, tree: Any) -> dict[Value, tuple[str, ...]]:
    """[0.1, 1] for a key, or {mlp: [model=mlp, lr=0.1], ...} for values that are several overrides each."""
    found: dict[Value, tuple[str, ...]]
    if isinstance(tree, list) and all(isinstance(v, int | float | str | bool) or v is None for v in tree):
        found = {value: (f"{name}={_written(value)}",) for value in tree}
        if len(found) < len(tree):
            raise ConfigError(f"axes.{show(name)}={show(tree)}: a value is there twice.")
    elif isinstance(tree, dict):
        found = {str(value): _overrides(each, f"sweep.axes.{name}.{value}") for value, each in tree.items()}
    else:
        found = {}
    if not found:
        raise ConfigError(f"axes.{show(name)}: it must be a list of values, or overrides for each value by its name.")
    return found


def _written(value: Value) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _condition(tree: Any, number: int, where: str, sweep: Sweep | None) -> Condition:
    try:
        return _checked(tree, sweep)
    except ConfigError as error:
        raise ConfigError(f"{where}, condition {number}: {error}") from error


def _checked(tree: Any, sweep: Sweep | None) -> Condition:
    if not isinstance(tree, dict):
        raise ConfigError(f"{show(tree)} is not a list of keys and values.")
    _known(tree, CONDITION)
    how: schema.Comparison = _one_of(tree, "as", get_args(schema.Comparison)) if sweep else "each"
    compare = tuple(str(_plain(arm, "compare")) for arm in _list(tree, "compare")) if "compare" in tree else ()
    over = _text(tree, "over") if "over" in tree else None
    contrast: tuple[str, Value, Value] | None = None
    if "contrast" in tree:
        axis, values = _only(tree, "contrast", "an axis and two of its values: {model.depth: [10, 3]}")
        if not isinstance(values, list) or len(values) != 2:
            raise ConfigError(f"contrast.{axis}: it takes two values of that axis, such as [10,3].")
        contrast = axis, _plain(values[0], "contrast"), _plain(values[1], "contrast")
    where = {}
    for axis, values in _mapping(tree, "where").items():
        where[axis] = tuple(_plain(v, "where") for v in (values if isinstance(values, list) else [values]))
        if not where[axis]:
            raise ConfigError(f"where.{axis}: it needs at least one value.")
    made = Condition(
        what=_text(tree, "what"),
        measure=_measure(tree),
        over=over,
        take=_one_of(tree, "take", get_args(schema.Take)) if "take" in tree else "best",
        working=_number(tree, "working") if "working" in tree else None,
        choose=_one_of(tree, "choose", schema.OBJECTIVES) if "choose" in tree else "val/accuracy",
        compare=compare,
        how=how,
        contrast=contrast,
        other=_other(_mapping(tree, "with")) if "with" in tree else None,
        where=where,
        direction=_one_of(tree, "is", get_args(schema.Direction)),
        threshold=_number(tree, "threshold"),
        margin=_number(tree, "margin") if "margin" in tree else None,
        refuted_beyond=_number(tree, "refuted_beyond") if "refuted_beyond" in tree else None,
        decides=_flag(tree, "decides") if "decides" in tree else True,
    )
    if (made.direction == "within") != (made.margin is not None):
        raise ConfigError("margin goes with is: within, and says how far from the threshold it may be.")
    beyond = made.refuted_beyond
    if beyond is not None and not {">=": beyond <= made.threshold, "<=": beyond >= made.threshold}.get(made.direction):
        raise ConfigError(
            f"refuted_beyond={show(beyond)}: it must lie on the side of threshold={show(made.threshold)} that is not asked for."
        )
    if made.how == "ratio" and made.threshold <= 0:
        raise ConfigError(f"threshold={show(made.threshold)}: that of a ratio must be above 0.")
    if sweep:
        check(made, sweep)
    elif set(tree) - {"what", "measure", "is", "threshold", "margin", "decides"}:
        extra = sorted(set(tree) - {"what", "measure", "is", "threshold", "margin", "decides"})
        raise ConfigError(f"{extra[0]}: an exact claim has no runs, and so no such key.")
    return made


def _other(tree: Mapping[str, Any]) -> Measure:
    _known(tree, ("measure", "at", "across", "below"), "with.")
    return _measure(tree)


def _measure(tree: Mapping[str, Any]) -> Measure:
    below = None
    if "below" in tree:
        tag, levels = _only(
            tree, "below", "a tag and the value below which it must be: {train/loss: 0.5}, or [0.5, 0.3]"
        )
        first, *more = levels if isinstance(levels, list) and levels else [levels]
        if len(more) > 1:
            raise ConfigError(f"below={show(levels)}: it takes one value or two, the larger one first.")
        below = tag, _number({"below": first}, "below"), _number({"below": more[0]}, "below") if more else None
    at = tree.get("at", "last")
    if not (type(at) is int and at >= 0):
        at = _one_of({"at": at}, "at", get_args(schema.At))
    return Measure(
        tag=_text(tree, "measure"),
        at=at,
        across=_one_of(tree, "across", get_args(schema.Across)) if "across" in tree else "mean",
        below=below,
    )


def _known(tree: Mapping[str, Any], keys: Iterable[str], prefix: str = "") -> None:
    keys = list(keys)
    for key in tree:
        if key not in keys:
            raise ConfigError(
                f"There is no key {show(prefix + key)}.{nearest(key, keys) or ' The keys are ' + ', '.join(keys) + '.'}"
            )


def _present(tree: Mapping[str, Any], key: str) -> Any:
    if key not in tree:
        raise ConfigError(f"{key} is missing.")
    return tree[key]


def _only(tree: Mapping[str, Any], key: str, what: str) -> tuple[str, Any]:
    """The one key and value of a mapping."""
    found = list(_mapping(tree, key).items())
    if len(found) != 1:
        raise ConfigError(f"{key} takes {what}.")
    return found[0]


def _plain(value: Any, key: str) -> Value:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{key}: {show(value)} is not a plain value.")


def _text(tree: Mapping[str, Any], key: str) -> str:
    value = _present(tree, key)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}={show(value)}: {key} must be a text.")
    return " ".join(untrusted.printable(line) for line in value.split("\n")).strip()


def _number(tree: Mapping[str, Any], key: str) -> float:
    value = _present(tree, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ConfigError(f"{key}={show(value)}: {key} must be a number.")
    return float(value)


def _flag(tree: Mapping[str, Any], key: str) -> bool:
    value = tree[key]
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={show(value)}: {key} must be true or false.")
    return value


def _one_of(tree: Mapping[str, Any], key: str, known: Sequence[str]) -> Any:
    value = _present(tree, key)
    if value not in known:
        raise ConfigError(f"{key}={show(value)}: {key} is one of {', '.join(known)}.{nearest(str(value), known)}")
    return value


def _list(tree: Mapping[str, Any], key: str) -> list[Any]:
    value = _present(tree, key)
    if not isinstance(value, list):
        raise ConfigError(f"{key}={show(value)}: {key} must be a list.")
    return value


def _mapping(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{key}={show(value)}: {key} must be keys and values.")
    return {str(name): each for name, each in value.items()}


def _overrides(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and "=" in text for text in value):
        raise ConfigError(f"{where}={show(value)}: it must be a list of overrides, such as [norm=bn, lr=0.1].")
    return tuple(value)
