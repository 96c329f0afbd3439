"""Claims from their files: configs/claim/NAME.yaml, and claim/NAME.yaml in a folder of the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from normexp.claims import schema, values
from normexp.claims.checks import check, check_sweep
from normexp.claims.schema import Claim, Condition, Measure, Scale, Sweep, Value
from normexp.config import ConfigError, nearest, show, yaml_files
from normexp.rundir import safe_read

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
    return yaml_files.choices("claim", *([config_dir] if config_dir else []))


def path_of(name: str, config_dir: Path | None = None) -> Path:
    """The file of a claim. ConfigError, with the nearest name, where there is none."""
    for root in (yaml_files.folder(), *([config_dir] if config_dir else [])):
        if name in yaml_files.choices("claim", root) and (path := root / "claim" / f"{name}.yaml").is_file():
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
        text = bytes(safe_read.read(path, most=MOST)).decode("utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ConfigError("it refers to parts of itself with *, which a claim can't.")
        tree = OmegaConf.to_container(OmegaConf.create(text)) if text.strip() else {}
    except (OSError, ValueError, RecursionError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"it can't be read ({show(str(error).splitlines()[0] if str(error) else error)}).") from error
    if not isinstance(tree, dict):
        raise ConfigError("it is not a list of keys and values.")
    return {str(key): value for key, value in tree.items()}


def _claim(name: str, tree: Mapping[str, Any], *, scale: Scale, quick: bool) -> Claim:
    values.known(tree, TOP)
    # What a file says nothing about is the same for it.
    scale, quick = scale if "full" in tree else "small", quick and "quick" in tree
    kind = values.one_of(tree, "kind", ("exact", "experiment"))
    exact = kind == "exact"
    if exact != ("sweep" not in tree):
        raise ConfigError("an exact claim has no sweep." if exact else "sweep is missing: an experiment has runs.")
    changes = [values.mapping(tree, key) for key, asked in (("full", scale == "full"), ("quick", quick)) if asked]
    seeds = values.sequence(tree, "seeds")
    for change in changes:
        values.known(change, ("seeds", "base", "axes"))
        seeds = values.sequence(change, "seeds") if "seeds" in change else seeds
    if not seeds or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={show(seeds)}: it must be a list of different whole numbers, such as [101,102,103].")
    sweep = None if exact else _sweep(values.mapping(tree, "sweep"), changes)
    rule = tuple(_condition(each, i, "rule", sweep) for i, each in enumerate(values.sequence(tree, "rule"), start=1))
    if not any(condition.decides for condition in rule):
        raise ConfigError("rule: it needs at least one condition that decides.")
    required = enumerate(values.sequence(tree, "requires") if "requires" in tree else [], start=1)
    return Claim(
        name=name,
        kind=kind,
        statement=values.text(tree, "statement"),
        source=values.text(tree, "source"),
        explanation=values.text(tree, "explanation") if "explanation" in tree else "",
        cost=values.text(tree, "cost") if "cost" in tree else "",
        seeds=tuple(seeds),
        sweep=sweep,
        rule=rule,
        requires=tuple(_condition(each, i, "requires", sweep) for i, each in required),
        combine=values.one_of(tree, "combine", ("all", "any")) if "combine" in tree else "all",
        scale=scale,
        quick=quick,
    )


def _sweep(tree: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> Sweep:
    values.known(tree, ("base", "arms", "axes"), "sweep.")
    base = values.overrides(tree.get("base", []), "sweep.base")
    arms = {name: values.overrides(each, f"sweep.arms.{name}") for name, each in values.mapping(tree, "arms").items()}
    axes = {name: _axis(name, each) for name, each in values.mapping(tree, "axes").items()} if "axes" in tree else {}
    if not arms:
        raise ConfigError("sweep.arms: name at least one arm, with its overrides: {bn: [norm=bn]}.")
    for change in changes:
        more = values.overrides(change.get("base", []), "base")
        chosen = tuple(f"{override.partition('=')[0]}." for override in more if "." not in override.partition("=")[0])
        base = tuple(each for each in base if not each.startswith(chosen or "\0")) + more
        for name, each in (values.mapping(change, "axes") if "axes" in change else {}).items():
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
        found = {str(value): values.overrides(each, f"sweep.axes.{name}.{value}") for value, each in tree.items()}
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
    values.known(tree, CONDITION)
    how: schema.Comparison = values.one_of(tree, "as", get_args(schema.Comparison)) if sweep else "each"
    compare = (
        tuple(str(values.plain(arm, "compare")) for arm in values.sequence(tree, "compare"))
        if "compare" in tree
        else ()
    )
    over = values.text(tree, "over") if "over" in tree else None
    contrast: tuple[str, Value, Value] | None = None
    if "contrast" in tree:
        axis, given = values.only(tree, "contrast", "an axis and two of its values: {model.depth: [10, 3]}")
        if not isinstance(given, list) or len(given) != 2:
            raise ConfigError(f"contrast.{axis}: it takes two values of that axis, such as [10,3].")
        contrast = axis, values.plain(given[0], "contrast"), values.plain(given[1], "contrast")
    where = {}
    for axis, given in values.mapping(tree, "where").items():
        where[axis] = tuple(values.plain(v, "where") for v in (given if isinstance(given, list) else [given]))
        if not where[axis]:
            raise ConfigError(f"where.{axis}: it needs at least one value.")
    made = Condition(
        what=values.text(tree, "what"),
        measure=_measure(tree),
        over=over,
        take=values.one_of(tree, "take", get_args(schema.Take)) if "take" in tree else "best",
        working=values.number(tree, "working") if "working" in tree else None,
        choose=values.one_of(tree, "choose", schema.OBJECTIVES) if "choose" in tree else "val/accuracy",
        compare=compare,
        how=how,
        contrast=contrast,
        other=_other(values.mapping(tree, "with")) if "with" in tree else None,
        where=where,
        direction=values.one_of(tree, "is", get_args(schema.Direction)),
        threshold=values.number(tree, "threshold"),
        margin=values.number(tree, "margin") if "margin" in tree else None,
        refuted_beyond=values.number(tree, "refuted_beyond") if "refuted_beyond" in tree else None,
        decides=values.flag(tree, "decides") if "decides" in tree else True,
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
    values.known(tree, ("measure", "at", "across", "below"), "with.")
    return _measure(tree)


def _measure(tree: Mapping[str, Any]) -> Measure:
    below = None
    if "below" in tree:
        tag, levels = values.only(
            tree, "below", "a tag and the value below which it must be: {train/loss: 0.5}, or [0.5, 0.3]"
        )
        first, *more = levels if isinstance(levels, list) and levels else [levels]
        if len(more) > 1:
            raise ConfigError(f"below={show(levels)}: it takes one value or two, the larger one first.")
        below = (
            tag,
            values.number({"below": first}, "below"),
            values.number({"below": more[0]}, "below") if more else None,
        )
    at = tree.get("at", "last")
    if not (type(at) is int and at >= 0):
        at = values.one_of({"at": at}, "at", get_args(schema.At))
    return Measure(
        tag=values.text(tree, "measure"),
        at=at,
        across=values.one_of(tree, "across", get_args(schema.Across)) if "across" in tree else "mean",
        below=below,
    )
